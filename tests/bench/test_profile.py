# SPDX-License-Identifier: Apache-2.0
"""What bench/profile.py makes of what perf says."""
from bench import profile

# Worker 12 sleeps on a futex, in a read, and is put aside; loop 11 sleeps once.
TIMEHIST = """\
           time    cpu  task name                       wait time  sch delay   run time  state
                        [tid/pid]                          (msec)     (msec)     (msec)
--------------- ------  ------------------------------  ---------  ---------  ---------  -----
     100.000100 [0001]  nginx[12/11]                        0.000      0.010      0.040      S  futex_do_wait <- __futex_wait <- do_futex <- __x64_sys_futex <- do_syscall_64
     100.000300 [0001]  nginx[11]                           0.000      0.000      0.030      S  do_epoll_wait <- __x64_sys_epoll_wait <- do_syscall_64
     100.020500 [0001]  nginx[12/11]                       20.000      0.200      0.200      D  folio_wait_bit_common <- filemap_read <- vfs_read <- __x64_sys_pread64
     100.024000 [0001]  nginx[12/11]                        3.000      0.100      0.400      R  __cond_resched <- filemap_read <- __x64_sys_pread64
     100.030000 [0001]  nginx[11]                          25.000      0.500      0.100      S  do_epoll_wait <- __x64_sys_epoll_wait <- do_syscall_64
     100.034000 [0001]  nginx[12/11]                        9.000      0.000      0.500      S  folio_wait_bit_common <- filemap_fault <- exc_page_fault <- asm_exc_page_fault
     100.036000 [0001]  nginx[12/11]                        1.000      0.000      0.500      S  folio_wait_bit_common <- filemap_fault <- exc_page_fault <- asm_exc_page_fault
"""


def test_waits():
    """Where a thread fell asleep is in one line, for how long in its next; one that was put aside was ready all the time."""
    found = profile.off_processor(TIMEHIST)
    assert found["waits"] == [[0.025, 1, 25.0, "epoll_wait: do_epoll_wait", "nginx"], [0.02, 1, 20.0, "futex: futex_do_wait", "nginx"],
                              [0.003, 1, 3.0, "pread64: folio_wait_bit_common", "nginx"],
                              [0.001, 1, 1.0, "page fault: folio_wait_bit_common", "nginx"]], found["waits"]
    assert found["ready"] == {"times": 5, "seconds": 0.01, "p50_ms": 0.2, "p99_ms": 9.0, "max_ms": 9.0}, found["ready"]


def test_system_call():
    """The entry of the system call, not what it calls in turn."""
    assert profile.reason("expand_files <- alloc_fd <- do_sys_openat2 <- __x64_sys_openat <- do_syscall_64") == "openat: expand_files"


def test_nothing_recorded():
    assert profile.off_processor("") == {"waits": [], "ready": {"times": 0, "seconds": 0, "max_ms": 0}}
