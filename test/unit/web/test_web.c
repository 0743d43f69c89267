/*
 * HTTP connections on real sockets: pipelining, windows, refusals, streams with back-pressure, peers that leave.
 *
 * The handler under test: PUT /count answers the number of body bytes, read under a small window; GET /stream/N answers
 * N bytes in pieces; GET /later answers after a timer; /refuse answers 400 without reading the body.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../lib/node_rig.h"
#include "base/arena.h"
#include "base/bytebuf.h"
#include "base/numtext.h"
#include "web/web.h"

enum { WINDOW = 1000, PIECE = 64 * 1024 };

struct fixture {
    struct node_rig rig;
    struct web_server *server;
    int sock;
};

struct job {
    struct web_request *req;
    uint64_t bytes;
    uint64_t left;
    size_t window;
    struct timer timer;
};

/* ---- the handler ---- */

static void answer_number(struct web_request *req, uint16_t status, uint64_t number)
{
    char text[NUMTEXT_INT64_MAX];
    size_t len = numtext_write_uint64(text, number);
    web_answer(req, status, NULL);
    web_send(req, slice_make(text, len));
}

static void on_data(struct web_request *req, struct slice bytes, void *arg)
{
    struct job *job = arg;
    assert_true(bytes.len <= job->window);
    job->window -= bytes.len;
    job->bytes += bytes.len;
    if (job->window == 0) {
        job->window = WINDOW;
        web_body_window(req, WINDOW);
    }
}

static void on_end(struct web_request *req, enum err err, void *arg)
{
    struct job *job = arg;
    answer_number(req, err ? 400 : 200, job->bytes);
}

static void stream_more(struct web_request *req, enum err err, void *arg)
{
    struct job *job = arg;
    while (!err && job->left > 0) {
        size_t len = job->left < PIECE ? (size_t)job->left : PIECE;
        struct iobuf *buf = iobuf_create(len);
        memset(iobuf_data(buf), 'x', len);
        web_stream_write(req, (struct iobuf_range){buf, slice_make(iobuf_data(buf), len)});
        job->left -= len;
        if (job->left > 0 && !web_stream_ready(req, stream_more, job))
            return;
        if (!web_alive(req))
            break;
    }
    web_stream_end(req);
}

static void later(struct timer *timer)
{
    struct job *job = CONTAINER_OF(timer, struct job, timer);
    answer_number(job->req, 200, 42);
}

static void on_request(struct web_request *req, void *arg)
{
    const struct http_head *head = web_head(req);
    struct job *job = ARENA_NEW(web_arena(req), struct job);
    job->req = req;
    if (slice_equal(head->path, SLICE_LIT("/count"))) {
        job->window = WINDOW;
        web_body_start(req, on_data, on_end, job);
        web_body_window(req, WINDOW);
    } else if (slice_starts_with(head->path, SLICE_LIT("/stream/"))) {
        assert_true(numtext_read_uint64(slice_sub(head->path, 8, head->path.len), &job->left));
        web_answer(req, 200, NULL);
        web_stream_begin(req, job->left);
        stream_more(req, ERR_OK, job);
    } else if (slice_equal(head->path, SLICE_LIT("/later"))) {
        timer_init(&job->timer, later);
        timer_arm(web_shard(req)->reactor, &job->timer, 50000);
    } else {
        answer_number(req, 400, 0);
    }
}

/* ---- the client ---- */

static void dial(struct fixture *f)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct timeval limit = {.tv_sec = 10};
    const char *text = web_server_address(f->server);
    int64_t port;
    assert_true(numtext_read_int64(slice_cstr(strchr(text, ':') + 1), &port));
    address.sin_port = htons((uint16_t)port);
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    f->sock = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(f->sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    assert_int_equal(connect(f->sock, (struct sockaddr *)&address, sizeof(address)), 0);
}

static void say(struct fixture *f, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = send(f->sock, p, len, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the peer may close early on purpose */
        p += n;
        len -= (size_t)n;
    }
}

static void say_text(struct fixture *f, const char *text)
{
    say(f, text, strlen(text));
}

/* All that comes until the server closes. */
static char *hear(struct fixture *f, size_t *ret_len)
{
    size_t len = 0;
    size_t cap = 1 << 16;
    char *text = malloc(cap);
    for (;;) {
        if (cap - len < 65536)
            text = realloc(text, cap *= 2);
        ssize_t n = recv(f->sock, text + len, cap - len - 1, 0);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    text[len] = 0;
    if (ret_len)
        *ret_len = len;
    close(f->sock);
    return text;
}

static int count_of(const char *text, const char *needle)
{
    int count = 0;
    for (const char *p = strstr(text, needle); p; p = strstr(p + 1, needle))
        count++;
    return count;
}

static int setup_with(void **state, struct web_config config)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct err_info info = {0};
    node_rig_folder(&f->rig);
    node_rig_shards(&f->rig, 2);
    config.host = "127.0.0.1";
    config.server_name = "test";
    config.on_request = on_request;
    config.arg = f;
    if (web_server_open(f->rig.shards, &config, &f->server, &info))
        fail_msg("%s", info.text);
    node_rig_run(&f->rig);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, (struct web_config){.port = 0});
}

/* Deadlines that a test can wait for. */
static int setup_hasty(void **state)
{
    return setup_with(
        state, (struct web_config){.idle_us = 400000, .head_us = 300000, .body_us = 300000});
}

static int setup_narrow(void **state)
{
    return setup_with(state, (struct web_config){.connections_max = 3});
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    node_rig_stop(&f->rig);
    web_server_close(f->server);
    node_rig_end(&f->rig);
    node_rig_remove(&f->rig);
    free(f);
    return 0;
}

/* Everything up to the next pause of the server; the connection stays open. */
static char *hear_some(struct fixture *f, const char *until)
{
    size_t len = 0;
    char *text = calloc(1, 1 << 16);
    while (!strstr(text, until)) {
        ssize_t n = recv(f->sock, text + len, (1 << 16) - len - 1, 0);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    return text;
}

static struct web_stats stats_of(const struct fixture *f)
{
    struct web_stats stats;
    web_server_stats(f->server, &stats);
    return stats;
}

static void wait_connections(const struct fixture *f, uint64_t count)
{
    for (int i = 0; i < 2000 && stats_of(f).connections != count; i++)
        usleep(10000);
    assert_int_equal(stats_of(f).connections, count);
}

/* ---- tests ---- */

static void test_pipelining(void **state)
{
    struct fixture *f = *state;
    dial(f);
    say_text(
        f,
        "GET /later HTTP/1.1\r\nHost: h\r\n\r\n"
        "PUT /count HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
        "PUT /count HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        "HEAD /later HTTP/1.1\r\nHost: h\r\n\r\n"
        "GET /stream/3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    char *text = hear(f, NULL);
    assert_int_equal(count_of(text, "HTTP/1.1 200 OK\r\n"), 5);
    char *first = strstr(text, "\r\n\r\n42HTTP");
    char *second = first ? strstr(first, "\r\n\r\n5HTTP") : NULL;
    char *third = second ? strstr(second, "\r\n\r\n3HTTP") : NULL;
    char *fourth = third ? strstr(third, "Content-Length: 2\r\n\r\nHTTP") : NULL;
    assert_non_null(fourth);
    assert_non_null(strstr(fourth, "Connection: close\r\n\r\nxxx"));
    free(text);
}

static void test_large_body(void **state)
{
    struct fixture *f = *state;
    char *body = calloc(1, 3000000);
    dial(f);
    say_text(
        f,
        "PUT /count HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\nConnection: close\r\n\r\n");
    say(f, body, 3000000);
    char *text = hear(f, NULL);
    assert_non_null(strstr(text, "\r\n\r\n3000000"));
    free(text);
    free(body);
}

static void test_stream(void **state)
{
    struct fixture *f = *state;
    size_t len;
    dial(f);
    say_text(f, "GET /stream/20000000 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    usleep(100000); /* the server runs into its high water meanwhile */
    char *text = hear(f, &len);
    size_t head = (size_t)(strstr(text, "\r\n\r\n") + 4 - text);
    assert_int_equal(len - head, 20000000);
    free(text);
}

/* Peers that leave in the middle; the leak check of the sanitizer build sees what stays. */
static void test_leaving(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {
        "",
        "GET",
        "GET /later HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /stream/50000000 HTTP/1.1\r\nHost: h\r\n\r\n",
        "PUT /count HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc",
        "PUT /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        dial(f);
        say_text(f, texts[i]);
        usleep(20000);
        close(f->sock);
    }
    dial(f);
    say_text(f, "PUT /count HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc");
    shutdown(f->sock, SHUT_WR); /* cut off, but still listening */
    char *text = hear(f, NULL);
    assert_non_null(strstr(text, "HTTP/1.1 400 "));
    free(text);
    dial(f);
    say_text(f, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    shutdown(f->sock, SHUT_WR);
    text = hear(f, NULL);
    assert_non_null(strstr(text, "\r\n\r\n42"));
    free(text);
}

/* A body that nobody reads: small ones are swallowed, after large ones the connection ends; the answer arrives. */
static void test_unread(void **state)
{
    struct fixture *f = *state;
    char *body = calloc(1, 5000000);
    dial(f);
    say_text(f, "PUT /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n");
    say(f, body, 1000);
    say_text(f, "PUT /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\n");
    say(f, body, 5000000);
    say_text(f, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    char *text = hear(f, NULL);
    assert_int_equal(count_of(text, "HTTP/1.1 400 "), 2);
    assert_int_equal(count_of(text, "HTTP/1.1 200 "), 0);
    assert_int_equal(count_of(text, "Connection: close"), 1);
    free(text);
    free(body);
    dial(f);
    say_text(
        f, "PUT /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n");
    text = hear(f, NULL);
    assert_int_equal(count_of(text, "HTTP/1.1 100"), 0);
    assert_int_equal(count_of(text, "Connection: close"), 1);
    free(text);
}

static void test_refusals(void **state)
{
    struct fixture *f = *state;
    struct web_stats stats;
    dial(f);
    say_text(f, "GET /later HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\nHost: h\r\n\r\nGET /later "
                "HTTP/1.1\r\n\r\n");
    char *text = hear(f, NULL);
    assert_int_equal(count_of(text, "HTTP/1.1 200 "), 1);
    assert_int_equal(count_of(text, "HTTP/1.1 400 "), 1);
    free(text);
    char *huge = malloc(100000);
    memset(huge, 'a', 100000);
    dial(f);
    say_text(f, "GET / HTTP/1.1\r\nHost: h\r\nX: ");
    say(f, huge, 100000);
    text = hear(f, NULL);
    assert_true(text[0] == 0 || strstr(text, "HTTP/1.1 431 "));
    free(text);
    free(huge);
    web_server_stats(f->server, &stats);
    assert_int_equal(stats.refused, 2);
}

/* What came before the peer's end is answered, in order, and only then the connection ends. */
static void test_half_close(void **state)
{
    struct fixture *f = *state;
    dial(f);
    say_text(f, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n"
                "PUT /count HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
                "GET /later HTTP/1.1\r\nHost: h\r\n\r\n"
                "PUT /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
                "GET /stream/3 HTTP/1.1\r\nHost: h\r\n\r\nGET /la");
    shutdown(f->sock, SHUT_WR);
    char *text = hear(f, NULL);
    assert_int_equal(count_of(text, "HTTP/1.1 200 OK\r\n"), 4);
    assert_int_equal(count_of(text, "HTTP/1.1 400 "), 1);
    assert_non_null(strstr(text, "\r\n\r\nxxx"));
    free(text);
    /* the end arrives while the first request is read, and with it all of the second */
    dial(f);
    say_text(f, "PUT /count HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel");
    usleep(50000);
    say_text(f, "loGET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    shutdown(f->sock, SHUT_WR);
    text = hear(f, NULL);
    assert_int_equal(count_of(text, "HTTP/1.1 200 OK\r\n"), 2);
    free(text);
    dial(f);
    say_text(f, "PUT /count HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab");
    shutdown(f->sock, SHUT_WR);
    text = hear(f, NULL);
    assert_int_equal(count_of(text, "HTTP/1.1 400 "), 1);
    free(text);
}

static void test_connection_limit(void **state)
{
    struct fixture *f = *state;
    int socks[3];
    for (int i = 0; i < 3; i++) {
        dial(f);
        socks[i] = f->sock;
        say_text(f, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
        char *text = hear_some(f, "42");
        assert_non_null(strstr(text, "HTTP/1.1 200 "));
        free(text);
    }
    for (int i = 0; i < 2; i++) { /* a refused one leaves no trace */
        dial(f);
        say_text(f, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
        char *text = hear(f, NULL);
        assert_int_equal(count_of(text, "HTTP/1.1 503 "), 1);
        assert_int_equal(count_of(text, "Connection: close\r\n"), 1);
        assert_int_equal(count_of(text, "HTTP/1.1 200 "), 0);
        free(text);
        wait_connections(f, 3);
    }
    assert_int_equal(stats_of(f).turned_away, 2);
    close(socks[0]);
    wait_connections(f, 2);
    dial(f);
    say_text(f, "GET /later HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    char *text = hear(f, NULL);
    assert_int_equal(count_of(text, "HTTP/1.1 200 "), 1);
    free(text);
    close(socks[1]);
    close(socks[2]);
}

/* Sends a byte of text again and again until the server has enough of it; the answer. */
static char *drip(struct fixture *f, const char *text)
{
    char *answer = calloc(1, 1 << 16);
    ssize_t len = 0;
    for (int i = 0; i < 2000; i++) {
        say(f, text, 1);
        usleep(20000);
        ssize_t n = recv(f->sock, answer + len, (1 << 16) - 1 - (size_t)len, MSG_DONTWAIT);
        if (n == 0)
            break;
        if (n > 0)
            len += n;
    }
    close(f->sock);
    return answer;
}

static void test_deadlines(void **state)
{
    struct fixture *f = *state;
    dial(f); /* nothing at all */
    char *text = hear(f, NULL);
    assert_string_equal(text, "");
    free(text);
    dial(f); /* nothing after an answer */
    say_text(f, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    text = hear(f, NULL);
    assert_int_equal(count_of(text, "HTTP/1.1 "), 1);
    free(text);
    dial(f); /* a head that never ends */
    say_text(f, "GET /later HTTP/1.1\r\nHost: h\r\nX: ");
    text = drip(f, "a");
    assert_non_null(strstr(text, "HTTP/1.1 408 "));
    free(text);
    dial(f); /* a body that stops */
    say_text(f, "PUT /count HTTP/1.1\r\nHost: h\r\nContent-Length: 9000\r\n\r\nabc");
    text = hear(f, NULL);
    assert_non_null(strstr(text, "HTTP/1.1 400 "));
    assert_non_null(strstr(text, "\r\n\r\n3"));
    free(text);
    dial(f); /* a body that drips */
    say_text(f, "PUT /count HTTP/1.1\r\nHost: h\r\nContent-Length: 9000\r\n\r\n");
    text = drip(f, "a");
    assert_non_null(strstr(text, "HTTP/1.1 400 "));
    free(text);
    dial(f); /* one that nobody reads */
    say_text(f, "PUT /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 9000\r\n\r\n");
    text = drip(f, "a");
    assert_non_null(strstr(text, "HTTP/1.1 400 "));
    free(text);
    wait_connections(f, 0);
    assert_int_equal(stats_of(f).timed_out, 6);
}

/* Nobody takes the answer: the request ends with its connection. */
static void test_answer_not_taken(void **state)
{
    struct fixture *f = *state;
    dial(f);
    say_text(f, "GET /stream/50000000 HTTP/1.1\r\nHost: h\r\n\r\n");
    for (int i = 0; i < 2000 && stats_of(f).connections == 0; i++)
        usleep(10000);
    wait_connections(f, 0);
    assert_int_equal(stats_of(f).timed_out, 1);
    close(f->sock);
}

#define WEB_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WEB_TEST(test_pipelining), WEB_TEST(test_large_body), WEB_TEST(test_stream),
        WEB_TEST(test_leaving),    WEB_TEST(test_unread),     WEB_TEST(test_refusals),
        WEB_TEST(test_half_close),
        cmocka_unit_test_setup_teardown(test_connection_limit, setup_narrow, teardown),
        cmocka_unit_test_setup_teardown(test_deadlines, setup_hasty, teardown),
        cmocka_unit_test_setup_teardown(test_answer_not_taken, setup_hasty, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
