/* SPDX-License-Identifier: Apache-2.0
 *
 * The allocator: how much each length takes, that no two allocations meet and all of them come back, that pages a socket still
 * refers to keep their bytes, and that claiming what is in use derives the same state again.
 */
#include "config.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "check_main.h"
#include "child.h"
#include "chunk.h"
#include "fixture.h"
#include "space.h"

#define PAGE 4096u
#define ZONE (8u << 20)
#define HELD 600u

/* ---- what a length takes ---- */

START_TEST(cost)
{
    afpa__segment_t s = {0};
    uint32_t chunk_size = 65536u << _i, smallest = chunk_size / AFPA_SLOTS;

    ck_assert(afpa__layout_compute(&s.layout, 64 << 20, chunk_size));
    for (uint32_t length = 1; length <= chunk_size; length++) {
        uint32_t takes = afpa__chunk_cost(&s, length), waste = takes - length, unit = chunk_size / AFPA_UNITS;
        bool in_units = length > chunk_size / 8 || afpa__chunk_exclusive(length);

        if (length <= smallest ? takes != smallest : takes < length || (waste > length / 8 && !(in_units && waste < unit)))
            ck_abort_msg("chunk %u: %u bytes take %u", chunk_size, length, takes);
        if (in_units && takes % unit)
            ck_abort_msg("chunk %u: %u bytes take %u, no whole units", chunk_size, length, takes);
    }
    ck_assert_uint_eq(afpa__chunk_cost(&s, chunk_size), chunk_size);
}
END_TEST

/* What may be sent by reference has pages of its own, in chunks of any size. */
START_TEST(exclusive_pages)
{
    uint32_t chunk_size = 65536u << _i;
    afpa__segment_t s = {0};

    ck_assert(afpa__layout_compute(&s.layout, 64 << 20, chunk_size));
    ck_assert(!afpa__chunk_exclusive(AFPA_REFERENCE_MIN - 1) && afpa__chunk_exclusive(AFPA_REFERENCE_MIN));
    for (uint32_t length = AFPA_REFERENCE_MIN; length <= chunk_size; length += 511)
        ck_assert_msg(afpa__chunk_cost(&s, length) % PAGE == 0, "chunk %u: %u bytes share a page", chunk_size, length);
}
END_TEST

/* ---- a model: what is held, and which 8 bytes belong to whom ---- */

typedef struct held {
    uint32_t chunk, offset, length;
} held_t;

typedef struct model {
    fixture_t f;
    afpa__segment_t *s;
    held_t held[HELD];
    uint32_t count;
    uint64_t bytes;
    uint8_t *map; /* one byte per 8 of the data section */
} model_t;

static void model_begin(model_t *m)
{
    memset(m, 0, sizeof(*m));
    fixture_begin(&m->f, ZONE);
    m->s = m->f.segment;
    m->map = calloc(m->s->layout.data_length / 8, 1);
    ck_assert_ptr_nonnull(m->map);
}

static void mark(model_t *m, const held_t *h, uint8_t from, uint8_t to)
{
    uint64_t at = ((uint64_t)h->chunk * FIXTURE_CHUNK + h->offset) / 8;

    ck_assert_uint_eq(h->offset % 8, 0);
    for (uint32_t i = 0; i < afpa__chunk_taken(m->s, h->chunk, h->length) / 8; i++) {
        if (m->map[at + i] != from)
            ck_abort_msg("chunk %u, offset %u, length %u overlaps another", h->chunk, h->offset, h->length);
        m->map[at + i] = to;
    }
}

static bool model_alloc(model_t *m, uint32_t length)
{
    held_t *h = &m->held[m->count];

    h->length = length;
    if (!afpa__chunk_alloc(m->s, length, &h->chunk, &h->offset))
        return false;
    ck_assert_uint_lt(h->chunk, m->s->layout.chunks);
    ck_assert_uint_le(h->offset + afpa__chunk_taken(m->s, h->chunk, length), FIXTURE_CHUNK);
    if (afpa__chunk_exclusive(length))
        ck_assert_uint_eq(h->offset % PAGE, 0);
    mark(m, h, 0, 1);
    m->bytes += afpa__chunk_taken(m->s, h->chunk, length);
    m->count++;
    ck_assert_uint_eq(m->s->space->bytes_used, m->bytes);
    return true;
}

static void model_free(model_t *m, uint32_t which, bool referenced)
{
    held_t h = m->held[which];

    mark(m, &h, 1, 0);
    m->bytes -= afpa__chunk_taken(m->s, h.chunk, h.length);
    afpa__chunk_free(m->s, h.chunk, h.offset, h.length, referenced);
    ck_assert_uint_eq(m->s->space->bytes_used, m->bytes);
    m->held[which] = m->held[--m->count];
}

/* All comes back: whole chunks on one list, nothing on the others. */
static void model_end(model_t *m)
{
    uint32_t listed = 0;

    while (m->count > 0)
        model_free(m, m->count - 1, false);
    ck_assert_uint_eq(m->s->space->free_chunks, m->s->layout.chunks);
    for (uint32_t at = m->s->space->free_chunk; at != AFPA_NONE && listed <= m->s->layout.chunks; at = m->s->chunks[at].next)
        listed++;
    ck_assert_uint_eq(listed, m->s->layout.chunks);
    for (uint32_t i = 0; i < AFPA_CLASSES; i++)
        ck_assert_uint_eq(m->s->space->slots[i], AFPA_NONE);
    for (uint32_t i = 0; i <= AFPA_UNITS; i++)
        ck_assert_uint_eq(m->s->space->runs[i], AFPA_NONE);
    free(m->map);
    fixture_end(&m->f);
}

/* Lengths as files have them: mostly small. */
static uint32_t some_length(uint64_t *random)
{
    uint32_t most = 1u << check_below(random, 17);

    return 1 + (uint32_t)check_below(random, most);
}

START_TEST(random_sequences)
{
    uint64_t random = 99 + (uint64_t)_i;
    unsigned refused = 0;
    model_t m;

    model_begin(&m);
    for (unsigned step = 0; step < 5000; step++) {
        bool grow = check_below(&random, 100) < (step / 1000 % 2 ? 40u : 60u);

        if (grow && m.count < HELD)
            refused += !model_alloc(&m, _i == 0 ? some_length(&random) : 8193 + (uint32_t)check_below(&random, 57000));
        else if (m.count > 0)
            model_free(&m, (uint32_t)check_below(&random, m.count), false);
    }
    if (_i > 0)
        ck_assert_uint_gt(refused, 0); /* else nothing was tried at the limit */
    model_end(&m);
}
END_TEST

START_TEST(until_full)
{
    model_t m;

    model_begin(&m);
    for (uint32_t i = 0; i < m.s->layout.chunks; i++)
        ck_assert(model_alloc(&m, FIXTURE_CHUNK));
    ck_assert_uint_eq(m.s->space->free_chunk, AFPA_NONE);
    ck_assert(!model_alloc(&m, 1) && !model_alloc(&m, 10000) && !model_alloc(&m, FIXTURE_CHUNK));
    model_free(&m, 3, false);
    for (unsigned i = 0; i < 64; i++)
        ck_assert(model_alloc(&m, 1024));
    ck_assert(!model_alloc(&m, 1024) && !model_alloc(&m, 1));
    model_end(&m);
}
END_TEST

/* Parts of a chunk: as many as fit by what each takes, and not one chunk more than that needs. */
START_TEST(parts_of_a_chunk)
{
    static const uint32_t lengths[] = {1, 64, 65, 72, 1000, 1024, 4096, 8192, 8193, 16384, 20000, 32768};
    uint32_t length = lengths[_i], each;
    model_t m;

    model_begin(&m);
    each = FIXTURE_CHUNK / afpa__chunk_cost(m.s, length);
    each = each > HELD / 2 ? HELD / 2 : each;
    for (uint32_t i = 0; i < each; i++) {
        ck_assert(model_alloc(&m, length));
        ck_assert_uint_eq(m.held[i].chunk, m.held[0].chunk);
    }
    ck_assert_uint_eq(m.s->space->free_chunks, m.s->layout.chunks - 1);
    model_end(&m);
}
END_TEST

/* ---- pages in a socket ---- */

/* A way to have the kernel hold references to the pages of a range of a file; returns where they can be read, and how many. */
typedef int refer_fn(int file, off_t at, size_t length, size_t *referred);

static int refer_pipe(int file, off_t at, size_t length, size_t *referred)
{
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    (void)!fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    for (*referred = 0; *referred < length;) {
        ssize_t n = splice(file, &at, ends[1], NULL, length - *referred, SPLICE_F_NONBLOCK);

        if (n <= 0)
            break;
        *referred += (size_t)n;
    }
    close(ends[1]);
    return ends[0];
}

static void tcp_pair(int ends[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), room = 1 << 20;

    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, length), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    ends[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
    ck_assert_int_eq(connect(ends[1], (struct sockaddr *)&address, length), 0);
    ends[0] = accept(listener, NULL, NULL);
    ck_assert_int_ge(ends[0], 0);
    close(listener);
}

static int refer_tcp(int file, off_t at, size_t length, size_t *referred)
{
    int ends[2];

    tcp_pair(ends);
    ck_assert_int_eq(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    for (*referred = 0; *referred < length;) {
        ssize_t n = sendfile(ends[1], file, &at, length - *referred);

        if (n <= 0)
            break;
        *referred += (size_t)n;
    }
    close(ends[1]);
    return ends[0];
}

/* What is read there: the one byte that all of them are, or -1. */
static int all_of(int fd, size_t length)
{
    char buffer[4096];
    int byte = -2;

    while (length > 0) {
        ssize_t n = read(fd, buffer, length < sizeof(buffer) ? length : sizeof(buffer));

        if (n <= 0)
            return -1;
        for (ssize_t i = 0; i < n; i++)
            byte = byte == -2 || byte == buffer[i] ? buffer[i] : -1;
        length -= (size_t)n;
    }
    return byte;
}

/* Frees and overwrites an allocation while the kernel refers to its pages; what is it that is sent? */
static int sent_after_reuse(model_t *m, uint32_t length, refer_fn *refer, bool referenced)
{
    held_t was;
    off_t at;
    size_t referred;
    int fd, byte;

    ck_assert(model_alloc(m, length));
    was = m->held[m->count - 1];
    memset(afpa__data_at(m->s, was.chunk, was.offset, length), 'o', length);
    at = (off_t)(m->s->layout.data_at + (uint64_t)was.chunk * FIXTURE_CHUNK + was.offset);
    fd = refer(m->s->fd, at, length, &referred);
    ck_assert_uint_gt(referred, 0);
    model_free(m, m->count - 1, referenced);
    ck_assert(model_alloc(m, length));
    ck_assert_uint_eq(m->held[m->count - 1].chunk, was.chunk);
    ck_assert_uint_eq(m->held[m->count - 1].offset, was.offset);
    memset(afpa__data_at(m->s, was.chunk, was.offset, length), 'n', length);
    byte = all_of(fd, referred);
    close(fd);
    model_free(m, m->count - 1, true);
    return byte;
}

static const struct {
    const char *label;
    refer_fn *refer;
    uint32_t length;
} reuse_cases[] = {
    {"pipe, whole chunk", refer_pipe, FIXTURE_CHUNK},    {"pipe, part of a chunk", refer_pipe, 40000},
    {"pipe, the least", refer_pipe, AFPA_REFERENCE_MIN}, {"TCP, whole chunk", refer_tcp, FIXTURE_CHUNK},
    {"TCP, part of a chunk", refer_tcp, 33000},
};

START_TEST(reuse_of_referenced_pages)
{
    const char *label = reuse_cases[_i].label;
    uint32_t length = reuse_cases[_i].length;
    held_t beside;
    model_t m;

    model_begin(&m);
    ck_assert(model_alloc(&m, 12000)); /* shares the chunk with what is sent, if that is a part of one */
    beside = m.held[0];
    memset(afpa__data_at(m.s, beside.chunk, beside.offset, 12000), 'b', 12000);
    /* The hazard first: where this shows old bytes, the kernel copied, and the rest would prove nothing. */
    if (sent_after_reuse(&m, length, reuse_cases[_i].refer, false) == 'n')
        ck_assert_msg(sent_after_reuse(&m, length, reuse_cases[_i].refer, true) == 'o', "%s", label);
    else
        fprintf(stderr, "skip: %s: this kernel copies\n", label);
    for (uint32_t i = 0; i < 12000; i++)
        ck_assert_int_eq(afpa__data_at(m.s, beside.chunk, beside.offset, 12000)[i], 'b');
    model_end(&m);
}
END_TEST

/* ---- holes: no room for new pages ---- */

/* A descriptor that may not write stands for a full tmpfs: neither can reserve pages. */
START_TEST(holes)
{
    model_t m;
    char name[64];
    int fd;

    model_begin(&m);
    fd = m.s->fd;
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    while (model_alloc(&m, AFPA_REFERENCE_MIN))
        continue;
    ck_assert_uint_eq(m.count, m.s->layout.chunks * 2);
    m.s->fd = open(name, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(m.s->fd, 0);
    model_free(&m, m.count - 1, true); /* half of a chunk, then half of another */
    model_free(&m, 0, true);
    ck_assert_uint_eq(m.s->space->holed, 2);
    ck_assert(!model_alloc(&m, AFPA_REFERENCE_MIN) && !model_alloc(&m, 1));
    ck_assert_uint_eq(m.s->space->holed, 2);
    close(m.s->fd);
    m.s->fd = fd;
    ck_assert(model_alloc(&m, AFPA_REFERENCE_MIN) && model_alloc(&m, AFPA_REFERENCE_MIN));
    ck_assert(!model_alloc(&m, 1));
    ck_assert_uint_eq(m.s->space->holed, 0);
    model_end(&m);
}
END_TEST

/* A segment whose data was never reserved, so that the first chunk to be renewed finds tmpfs full. */
static child_result_t holes_of_full_tmpfs(void *dir)
{
    uint32_t chunk, offset;
    afpa__segment_t s;
    afpa__layout_t l;
    afpa_error_t error;
    struct stat st;
    int fd, filler;

    if (!child_tmpfs(dir, "size=3m"))
        return CHILD_SKIP;
    CHILD_NEED(chdir(dir) == 0 && afpa__layout_compute(&l, 4 << 20, FIXTURE_CHUNK));
    fd = open("segment", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHILD_NEED(fd >= 0 && ftruncate(fd, (off_t)l.file_size) == 0 && fallocate(fd, 0, 0, (off_t)l.data_at) == 0);
    CHILD_NEED(afpa__segment_map(&s, &l, fd, "segment", &error) == AFPA_OK);
    afpa__segment_format(&s, "check");
    CHILD_NEED(afpa__chunk_alloc(&s, FIXTURE_CHUNK, &chunk, &offset));
    filler = open("filler", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    for (off_t end = 0; fallocate(filler, 0, end, PAGE) == 0; end += PAGE)
        continue;
    afpa__chunk_free(&s, chunk, offset, FIXTURE_CHUNK, true);
    CHILD_NEED(s.space->holed == 1 && s.chunks[chunk].holes == UINT64_MAX && s.space->bytes_used == 0);
    while (afpa__chunk_alloc(&s, FIXTURE_CHUNK, &chunk, &offset))
        CHILD_NEED(s.space->holed == 1);
    CHILD_NEED(s.space->bytes_used == l.data_length - FIXTURE_CHUNK);
    CHILD_NEED(ftruncate(filler, 0) == 0);
    CHILD_NEED(afpa__chunk_alloc(&s, FIXTURE_CHUNK, &chunk, &offset) && s.space->holed == 0);
    CHILD_NEED(fstat(fd, &st) == 0 && (uint64_t)st.st_blocks * 512 >= l.data_at + FIXTURE_CHUNK);
    return CHILD_GOOD;
}

START_TEST(holes_when_tmpfs_is_full)
{
    fixture_t f;

    fixture_begin(&f, 4 << 20);
    child_run(holes_of_full_tmpfs, f.dir, "holes when tmpfs is full");
    fixture_end(&f);
}
END_TEST

/* ---- deriving it again ---- */

static void state_of_lists(const afpa__segment_t *s, uint32_t *list)
{
    for (uint32_t i = 0; i < s->layout.chunks; i++)
        list[i] = AFPA_NONE;
    for (uint32_t i = 0; i < AFPA_CLASSES; i++)
        for (uint32_t at = s->space->slots[i]; at != AFPA_NONE; at = s->chunks[at].next)
            list[at] = i;
    for (uint32_t i = 0; i <= AFPA_UNITS; i++)
        for (uint32_t at = s->space->runs[i]; at != AFPA_NONE; at = s->chunks[at].next)
            list[at] = 1000 + i;
    for (uint32_t at = s->space->free_chunk; at != AFPA_NONE; at = s->chunks[at].next)
        list[at] = 2000;
}

static void rederive(model_t *m)
{
    afpa__segment_t *s = m->s;

    afpa__chunk_reset(s);
    ck_assert_uint_eq(s->space->bytes_used, 0);
    for (uint32_t i = m->count; i-- > 0;)
        ck_assert(afpa__chunk_claim(s, m->held[i].chunk, m->held[i].offset, m->held[i].length));
    afpa__chunk_relist(s);
}

/* Reset, claims and relisting give what the allocations gave, holes included, and it can be gone on with. */
START_TEST(derived_again)
{
    uint32_t *before, *after;
    afpa__chunk_shared_t *chunks;
    uint64_t random = 17, free_chunks;
    model_t m;
    int fd;

    model_begin(&m);
    before = calloc(m.s->layout.chunks * 2, sizeof(*before));
    after = before + m.s->layout.chunks;
    chunks = calloc(m.s->layout.chunks, sizeof(*chunks));
    ck_assert(model_alloc(&m, 50000));
    fd = m.s->fd;
    m.s->fd = -1;
    model_free(&m, 0, true);
    m.s->fd = fd;
    while (m.count < 300 && model_alloc(&m, some_length(&random)))
        if (check_below(&random, 3) == 0)
            model_free(&m, (uint32_t)check_below(&random, m.count), false);
    free_chunks = m.s->space->free_chunks;
    state_of_lists(m.s, before);
    memcpy(chunks, m.s->chunks, sizeof(*chunks) * m.s->layout.chunks);
    rederive(&m);
    state_of_lists(m.s, after);
    ck_assert_mem_eq(after, before, sizeof(*before) * m.s->layout.chunks);
    for (uint32_t i = 0; i < m.s->layout.chunks; i++) {
        afpa__chunk_shared_t *a = &m.s->chunks[i], *b = &chunks[i];

        ck_assert(a->kind == b->kind && a->used == b->used && a->holes == b->holes);
        ck_assert(a->kind != AFPA__CHUNK_SLOTS || a->class_id == b->class_id);
        ck_assert_mem_eq(a->bitmap, b->bitmap, sizeof(a->bitmap));
    }
    ck_assert_uint_eq(m.s->space->free_chunks, free_chunks);
    ck_assert_uint_eq(m.s->space->bytes_used, m.bytes);
    ck_assert_uint_eq(m.s->space->holed, 1);
    while (model_alloc(&m, FIXTURE_CHUNK)) /* runs short, so that the hole is mended */
        continue;
    ck_assert_uint_eq(m.s->space->holed, 0);
    free(before);
    free(chunks);
    model_end(&m);
}
END_TEST

static const struct {
    const char *label;
    uint32_t chunk, offset, length; /* chunk UINT32_MAX - n: the one after the last, and so on */
    bool good;
} claim_cases[] = {
    {"slot of the class that is there", 0, 1024, 1000, true},
    {"run beside a run", 1, 10240, 10000, true},
    {"whole chunk", 2, 0, FIXTURE_CHUNK, true},
    {"last bytes of the last chunk", UINT32_MAX - 1, FIXTURE_CHUNK - 1024, 1024, true},
    {"nothing", 0, 1024, 0, false},
    {"slot that is taken", 0, 0, 1000, false},
    {"slot between two", 0, 512, 1000, false},
    {"slot of a smaller class", 0, 2048, 2048, false},
    {"slot of a larger class", 0, 1024, 513, true},
    {"slot of more than twice the size", 0, 1024, 480, false},
    {"run among slots", 0, 16384, 10000, false},
    {"slot among runs", 1, 16384, 1000, false},
    {"run that is taken", 1, 0, 10000, false},
    {"run that begins in one that is taken", 1, 9216, 10000, false},
    {"run askew", 1, 16385, 10000, false},
    {"pages askew", 1, 20480 + 1024, AFPA_REFERENCE_MIN, false},
    {"out of the chunk", 2, 61440, 10000, false},
    {"slot out of the chunk", 2, FIXTURE_CHUNK, 100, false},
    {"slot behind the last", 2, 910 * 72, 72, false},
    {"chunk after the last", UINT32_MAX, 0, 1000, false},
};

START_TEST(claims)
{
    uint32_t chunk = claim_cases[_i].chunk;
    model_t m;

    model_begin(&m);
    afpa__chunk_reset(m.s);
    ck_assert(afpa__chunk_claim(m.s, 0, 0, 1000));
    ck_assert(afpa__chunk_claim(m.s, 1, 0, 10000));
    if (chunk >= UINT32_MAX - 1)
        chunk = m.s->layout.chunks - (UINT32_MAX - chunk);
    ck_assert_msg(afpa__chunk_claim(m.s, chunk, claim_cases[_i].offset, claim_cases[_i].length) == claim_cases[_i].good, "%s",
                  claim_cases[_i].label);
    afpa__space_rebuild(m.s);
    model_end(&m);
}
END_TEST

/* ---- mistakes of callers ---- */

/* ---- mistakes ---- */

static void alloc_nothing(void *s)
{
    uint32_t chunk, offset;

    afpa__chunk_alloc(s, 0, &chunk, &offset);
}

static void alloc_too_much(void *s)
{
    uint32_t chunk, offset;

    afpa__chunk_alloc(s, FIXTURE_CHUNK + 1, &chunk, &offset);
}

static void free_elsewhere(void *s)
{
    afpa__chunk_free(s, ((afpa__segment_t *)s)->layout.chunks, 0, 100, false);
}

static void free_twice(void *s)
{
    uint32_t chunk, other, offset;

    afpa__chunk_alloc(s, 100, &chunk, &offset);
    afpa__chunk_alloc(s, 100, &chunk, &other);
    afpa__chunk_free(s, chunk, offset, 100, false);
    afpa__chunk_free(s, chunk, offset, 100, false);
}

START_TEST(mistakes_abort)
{
    static void (*const mistakes[])(void *) = {alloc_nothing, alloc_too_much, free_elsewhere, free_twice};
    fixture_t f;

    fixture_begin(&f, ZONE);
    for (size_t i = 0; i < CHECK_COUNT(mistakes); i++)
        ck_assert_msg(check_aborts(mistakes[i], f.segment, NULL, 0), "mistake %zu went by", i);
    afpa__space_rebuild(f.segment);
    fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chunk");

    check_add_loop(suite, "cost", cost, 5);
    check_add_loop(suite, "exclusive_pages", exclusive_pages, 5);
    check_add_loop(suite, "random_sequences", random_sequences, 2);
    check_add(suite, "until_full", until_full);
    check_add_loop(suite, "parts_of_a_chunk", parts_of_a_chunk, 12);
    check_add_loop(suite, "reuse_of_referenced_pages", reuse_of_referenced_pages, CHECK_COUNT(reuse_cases));
    check_add(suite, "holes", holes);
    check_add(suite, "holes_when_tmpfs_is_full", holes_when_tmpfs_is_full);
    check_add(suite, "derived_again", derived_again);
    check_add_loop(suite, "claims", claims, CHECK_COUNT(claim_cases));
    check_add(suite, "mistakes_abort", mistakes_abort);
    return check_main(suite);
}
