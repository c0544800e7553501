# SPDX-License-Identifier: Apache-2.0
# One libcheck suite per library source; tests/check_X.c tests libafpa/X.c.  Each runs alone and beside the others:
# add tests/check_X to suites, and a line tests_check_X_SOURCES if it has more than the one file.
suites = \
	tests/check_cache \
	tests/check_cache_no_evict \
	tests/check_capture \
	tests/check_chunk \
	tests/check_chunk_reuse \
	tests/check_chunk_slots \
	tests/check_chunk_whole \
	tests/check_clock \
	tests/check_completion \
	tests/check_conn \
	tests/check_conn_end \
	tests/check_engine \
	tests/check_evict \
	tests/check_executor \
	tests/check_fill \
	tests/check_fresh \
	tests/check_fresh_young \
	tests/check_http \
	tests/check_index \
	tests/check_index_writers \
	tests/check_inspect \
	tests/check_judge \
	tests/check_key \
	tests/check_lock \
	tests/check_log \
	tests/check_loop \
	tests/check_machine \
	tests/check_object \
	tests/check_options \
	tests/check_owner \
	tests/check_owner_death \
	tests/check_pin \
	tests/check_policy \
	tests/check_policy_afpa \
	tests/check_policy_records \
	tests/check_policy_trace \
	tests/check_reply \
	tests/check_request \
	tests/check_response \
	tests/check_segment \
	tests/check_send \
	tests/check_send_abort \
	tests/check_space \
	tests/check_space_kill \
	tests/check_stats \
	tests/check_status \
	tests/check_transport_epoll \
	tests/check_verify \
	tests/check_verify_damage \
	tests/check_walk \
	tests/check_zone \
	tests/check_zone_attach \
	tests/check_zone_rights

fixture = tests/fixture.c tests/fixture.h tests/check_main.h
# In place of cache.c, which the linker then leaves out.
fakes = tests/fake_cache.c tests/fake_cache.h tests/fake_transport.c tests/fake_transport.h tests/send_rig.c tests/send_rig.h \
	tests/check_main.h
tests_check_cache_SOURCES = tests/check_cache.c tests/child.h $(fixture)
tests_check_cache_no_evict_SOURCES = tests/check_cache_no_evict.c tests/child.h $(fixture)
tests_check_capture_SOURCES = tests/check_capture.c tests/check_main.h
tests_check_chunk_SOURCES = tests/check_chunk.c tests/child.h $(fixture)
tests_check_chunk_reuse_SOURCES = tests/check_chunk_reuse.c tests/child.h $(fixture)
tests_check_chunk_slots_SOURCES = tests/check_chunk_slots.c $(fixture)
tests_check_chunk_whole_SOURCES = tests/check_chunk_whole.c $(fixture)
tests_check_clock_SOURCES = tests/check_clock.c tests/child.h $(fixture)
tests_check_completion_SOURCES = tests/check_completion.c $(fakes)
rig = tests/conn_rig.c tests/conn_rig.h tests/fake_provider.c tests/fake_provider.h $(fixture)
tests_check_engine_SOURCES = tests/check_engine.c $(rig)
cases = tests/transport_cases.c tests/transport_cases.h
side = tests/transport_side.c tests/transport_side.h tests/fake_provider.c tests/fake_provider.h tests/check_main.h
tests_check_transport_epoll_SOURCES = tests/check_transport_epoll.c $(cases) $(side)
tests_check_loop_SOURCES = tests/check_loop.c $(side)
tests_check_reply_SOURCES = tests/check_reply.c $(rig)
tests_check_conn_SOURCES = tests/check_conn.c $(rig)
tests_check_conn_end_SOURCES = tests/check_conn_end.c $(rig)
tests_check_evict_SOURCES = tests/check_evict.c $(fixture)
tests_check_executor_SOURCES = tests/check_executor.c tests/child.h $(fixture)
tests_check_fill_SOURCES = tests/check_fill.c tests/child.h $(fixture)
tests_check_fresh_SOURCES = tests/check_fresh.c $(fixture)
tests_check_fresh_young_SOURCES = tests/check_fresh_young.c $(fixture)
tests_check_http_SOURCES = tests/check_http.c tests/check_main.h
tests_check_index_SOURCES = tests/check_index.c tests/index_records.h $(fixture)
tests_check_index_writers_SOURCES = tests/check_index_writers.c tests/child.h tests/index_records.h $(fixture)
tests_check_inspect_SOURCES = tests/check_inspect.c $(fixture)
tests_check_judge_SOURCES = tests/check_judge.c tests/zone_state.h tests/child.h $(fixture)
tests_check_key_SOURCES = tests/check_key.c $(fixture)
tests_check_lock_SOURCES = tests/check_lock.c tests/child.h $(fixture)
tests_check_log_SOURCES = tests/check_log.c $(fixture)
tests_check_machine_SOURCES = tests/check_machine.c tests/check_main.h
tests_check_object_SOURCES = tests/check_object.c tests/child.h $(fixture)
tests_check_options_SOURCES = tests/check_options.c $(fixture)
tests_check_owner_SOURCES = tests/check_owner.c tests/child.h tests/owner_board.h $(fixture)
tests_check_owner_death_SOURCES = tests/check_owner_death.c tests/child.h tests/owner_board.h $(fixture)
tests_check_pin_SOURCES = tests/check_pin.c tests/child.h $(fixture)
# Of bench/policy: see bench/local.mk.
tests_check_policy_SOURCES = tests/check_policy.c tests/check_main.h $(policy_parts)
tests_check_policy_CPPFLAGS = $(policy_flags)
tests_check_policy_records_SOURCES = tests/check_policy_records.c tests/policy_work.h tests/check_main.h $(policy_parts)
tests_check_policy_records_CPPFLAGS = $(policy_flags)
tests_check_policy_trace_SOURCES = tests/check_policy_trace.c tests/policy_work.h tests/check_main.h $(policy_parts)
tests_check_policy_trace_CPPFLAGS = $(policy_flags)
tests_check_policy_afpa_SOURCES = tests/check_policy_afpa.c tests/check_main.h $(policy_parts) $(policy_side)
tests_check_policy_afpa_CPPFLAGS = $(policy_flags)
tests_check_policy_afpa_LDFLAGS = $(AM_LDFLAGS) $(policy_wraps)
tests_check_request_SOURCES = tests/check_request.c tests/check_main.h
tests_check_response_SOURCES = tests/check_response.c $(fixture)
tests_check_segment_SOURCES = tests/check_segment.c $(fixture)
tests_check_send_SOURCES = tests/check_send.c $(fakes)
tests_check_send_abort_SOURCES = tests/check_send_abort.c $(fakes)
tests_check_space_SOURCES = tests/check_space.c tests/child.h $(fixture)
tests_check_space_kill_SOURCES = tests/check_space_kill.c tests/child.h $(fixture)
tests_check_stats_SOURCES = tests/check_stats.c tests/child.h $(fixture)
tests_check_status_SOURCES = tests/check_status.c $(fixture)
tests_check_verify_SOURCES = tests/check_verify.c tests/verify_state.h $(fixture)
tests_check_verify_damage_SOURCES = tests/check_verify_damage.c tests/verify_state.h $(fixture)
tests_check_walk_SOURCES = tests/check_walk.c $(fixture)
tests_check_zone_SOURCES = tests/check_zone.c tests/zone_state.h tests/child.h $(fixture)
tests_check_zone_attach_SOURCES = tests/check_zone_attach.c tests/zone_state.h $(fixture)
tests_check_zone_rights_SOURCES = tests/check_zone_rights.c tests/child.h $(fixture)

# -iquote, not -I: <assert.h> has to remain the system's.
AM_CPPFLAGS += -iquote $(srcdir)/libafpa
LDADD = libafpa/libafpa_internal.la $(CHECK_LIBS)
AM_CFLAGS += $(CHECK_CFLAGS)

if HAVE_CHECK
check_PROGRAMS += $(suites)
TESTS += $(suites)
if NGINX
check_PROGRAMS += tests/check_transport_nginx
TESTS += tests/check_transport_nginx
endif
endif
# The provider itself and a double of what it calls of nginx.
tests_check_transport_nginx_SOURCES = tests/check_transport_nginx.c tests/nginx_double.c ngx_afpa/ngx_http_afpa_transport.c $(cases) $(side)
tests_check_transport_nginx_CPPFLAGS = $(ngx_afpa_ngx_http_afpa_module_la_CPPFLAGS) -I$(srcdir)/ngx_afpa
if NGINX
$(tests_check_transport_nginx_OBJECTS): ngx_objs/ngx_auto_config.h
endif

# Fuzz targets: with --enable-fuzzing libFuzzer drives them, else replay.c runs their corpus with the other tests.
fuzz_targets = tests/fuzz/fuzz_options tests/fuzz/fuzz_segment
tests_fuzz_fuzz_options_SOURCES = tests/fuzz/fuzz_options.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_segment_SOURCES = tests/fuzz/fuzz_segment.c tests/fuzz/fuzz.h
if HAVE_CHECK
fuzz_targets += tests/fuzz/fuzz_conn
endif
tests_fuzz_fuzz_conn_SOURCES = tests/fuzz/fuzz_conn.c tests/fuzz/fuzz.h $(rig)
tests_fuzz_fuzz_conn_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_SECONDS=60
if FUZZING
noinst_PROGRAMS += $(fuzz_targets)
tests_fuzz_fuzz_conn_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_options_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_segment_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
else
check_PROGRAMS += $(fuzz_targets)
tests_fuzz_fuzz_options_SOURCES += tests/fuzz/replay.c
tests_fuzz_fuzz_conn_SOURCES += tests/fuzz/replay.c
tests_fuzz_fuzz_segment_SOURCES += tests/fuzz/replay.c
TESTS += $(fuzz_targets)
endif

# Processes, 30 s; then threads.
check_PROGRAMS += tests/stress/stress
tests_stress_stress_SOURCES = tests/stress/stress.c tests/stress/stress_files.c tests/stress/stress_files.h
TESTS += tests/stress/stress tests/stress/threads
EXTRA_DIST += tests/stress/threads tests/soak

# Connections that come and go; tests/server/test_churn.py runs a few.
check_PROGRAMS += tests/churn_client
tests_churn_client_SOURCES = tests/churn_client.c
EXTRA_DIST += tests/churn tests/churn.supp

# Holds objects as a server does, for the tests of afpactl.
check_PROGRAMS += tests/hold
tests_hold_SOURCES = tests/hold.c

# What a script says about its cases, `cases: N passed, N failed, N skipped`, is summed up by tests/summary.
TESTS += tests/guards tests/run-policy tests/run-tool tests/run-server
AM_TESTS_ENVIRONMENT = \
	AFPA_BUILDDIR='$(abs_builddir)'; export AFPA_BUILDDIR; \
	AFPA_SRCDIR='$(abs_srcdir)'; export AFPA_SRCDIR; \
	PYTHON3='$(PYTHON3)'; export PYTHON3;
EXTRA_DIST += tests/guards tests/run-policy tests/run-pytest tests/run-tool tests/run-server tests/summary tests/server tests/tool tests/fuzz/corpus tests/fuzz/conn.dict
CLEANFILES += tests/server.xml tests/tool.xml
