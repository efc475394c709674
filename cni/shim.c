// The CNI plugin "kube-ovn": hands one call of the container runtime to the agent of this node and prints its answer.
// README.md holds the contract; shim.py is the same program in Python, and both answer the same bytes.
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#ifndef MILLISECONDS
#define MILLISECONDS 1000 // in a second of the time limits; the tests make it short
#endif
#define SOCKET "/run/openvswitch/kube-ovn-daemon.sock"
#define VERSIONS "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n"
#define USAGE \
    "kube-ovn is a CNI plugin: a container runtime runs it, with CNI_COMMAND (ADD, DEL, CHECK, GC, STATUS or VERSION) in the " \
    "environment and a network configuration on stdin\n"
#define LOOK "look at: kubectl -n kube-system get pods -l app=kube-ovn-cni --field-selector spec.nodeName=NODE"

enum { LIMIT = 1 << 20, DEPTH = 100, PATH = 107 }; // PATH: sun_path without its NUL
enum { ENVIRONMENT = 4, IO = 5, DECODING = 6, CONFIG = 7, TRY_AGAIN = 11, NOT_AVAILABLE = 50 }; // of the CNI specification

extern char **environ;

// ---- JSON: is it one object, and what do the members say that the shim must know?

struct field { enum { ABSENT, STRING, OTHER } kind; char value[PATH + 1]; }; // OTHER: no string, or too long, or not ASCII, or with NUL
struct scan { const unsigned char *at, *end; };
enum place { ROOT, IPAM, ELSEWHERE };
static struct field version, type, top_socket, ipam_socket;

static bool value(struct scan *s, int depth, enum place place, struct field *out);

static bool utf8(const char *from, size_t n)
{
    for (const unsigned char *at = (const unsigned char *)from, *end = at + n; at < end;) {
        unsigned c = *at++;
        if (c < 0x80) continue;
        int more = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        if (c < 0xc2 || c > 0xf4 || end - at < more) return false;
        // The second byte betrays overlong forms, surrogates and what lies above U+10FFFF.
        if ((c == 0xe0 && *at < 0xa0) || (c == 0xed && *at > 0x9f) || (c == 0xf0 && *at < 0x90) || (c == 0xf4 && *at > 0x8f))
            return false;
        while (more--)
            if ((*at++ & 0xc0) != 0x80) return false;
    }
    return true;
}

static bool take(struct scan *s, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0) return false;
    s->at += n;
    return true;
}

static void blank(struct scan *s)
{
    while (take(s, " ") || take(s, "\t") || take(s, "\n") || take(s, "\r"))
        ;
}

static int hex(unsigned char c) { return isdigit(c) ? c - '0' : isxdigit(c) ? tolower(c) - 'a' + 10 : -1; }

// What follows a backslash. Beyond ASCII nothing is decoded: no name is looked for there, and a path must be ASCII.
static int escape(struct scan *s)
{
    static const char names[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    if (!take(s, "u")) {
        const char *name = s->at < s->end ? memchr(names, *s->at++, sizeof names - 1) : NULL;
        return name ? means[name - names] : -1;
    }
    int code = 0;
    for (int i = 0; i < 4; i++) {
        int digit = s->at < s->end ? hex(*s->at++) : -1;
        if (digit < 0) return -1;
        code = code << 4 | digit;
    }
    return code < 0x80 ? code : 0xff;
}

static bool string(struct scan *s, struct field *out)
{
    size_t length = 0;
    *out = (struct field){.kind = STRING};
    if (!take(s, "\"")) return false;
    while (s->at < s->end && *s->at >= 0x20) {
        int c = *s->at++;
        if (c == '"') return true;
        if (c == '\\' && (c = escape(s)) < 0) return false;
        if (c == 0 || c > 0x7f || length == PATH)
            out->kind = OTHER;
        else
            out->value[length++] = (char)c;
    }
    return false;
}

static bool digits(struct scan *s)
{
    const unsigned char *from = s->at;
    while (s->at < s->end && isdigit(*s->at)) s->at++;
    return s->at > from;
}

static bool number(struct scan *s)
{
    take(s, "-");
    if ((!take(s, "0") && !digits(s)) || (take(s, ".") && !digits(s))) return false;
    if (!take(s, "e") && !take(s, "E")) return true;
    if (!take(s, "+")) take(s, "-");
    return digits(s);
}

static bool is(const struct field *f, const char *word) { return f->kind == STRING && strcmp(f->value, word) == 0; }

static bool member(struct scan *s, int depth, enum place place)
{
    struct field key, ignored, *out = &ignored;
    enum place inner = ELSEWHERE;
    blank(s);
    if (!string(s, &key)) return false;
    if (place == ROOT && is(&key, "cniVersion"))
        out = &version;
    if (place == ROOT && is(&key, "type"))
        out = &type;
    if (place != ELSEWHERE && is(&key, "server_socket"))
        out = place == ROOT ? &top_socket : &ipam_socket;
    if (place == ROOT && is(&key, "ipam")) {
        inner = IPAM;
        ipam_socket.kind = ABSENT; // of members with one name the last counts, as a whole
    }
    blank(s);
    return take(s, ":") && value(s, depth, inner, out);
}

static bool value(struct scan *s, int depth, enum place place, struct field *out)
{
    struct field ignored;
    blank(s);
    if (s->at < s->end && *s->at == '"') return string(s, out);
    bool object = take(s, "{");
    if (object || take(s, "[")) {
        const char *close = object ? "}" : "]";
        out->kind = OTHER;
        blank(s);
        if (depth++ == DEPTH) return false;
        if (take(s, close)) return true;
        do {
            if (object ? !member(s, depth, place) : !value(s, depth, ELSEWHERE, &ignored)) return false;
            blank(s);
        } while (take(s, ","));
        return take(s, close);
    }
    out->kind = take(s, "null") ? ABSENT : OTHER;
    return out->kind == ABSENT || take(s, "true") || take(s, "false") || number(s);
}

// Fills the fields above; they are empty when the text is not one JSON object.
static bool decode(const char *at, size_t n)
{
    struct scan s = {(const unsigned char *)at, (const unsigned char *)at + n};
    struct field ignored;
    blank(&s);
    if (utf8(at, n) && s.at < s.end && *s.at == '{' && value(&s, 0, ROOT, &ignored)) {
        blank(&s);
        if (s.at == s.end) return true;
    }
    version.kind = type.kind = top_socket.kind = ipam_socket.kind = ABSENT;
    return false;
}

// ---- HTTP: one request, one answer

enum progress { MORE, BAD, DONE };
struct answer { int status; const char *body; size_t length; };

static enum progress unchunk(const char *at, const char *end, struct answer *a)
{
    static char body[LIMIT]; // holds less than was received, and that is LIMIT at most
    *a = (struct answer){a->status, body, 0};
    for (;;) {
        const char *line = at;
        size_t size = 0, count = 0;
        at = memmem(at, (size_t)(end - at), "\r\n", 2);
        if (!at) return MORE;
        for (; line + count < at && line[count] != ';'; count++) {
            int digit = hex((unsigned char)line[count]);
            if (digit < 0 || count == 7) return BAD;
            size = size << 4 | (size_t)digit;
        }
        if (count == 0) return BAD;
        if (size == 0) // then trailers and an empty line
            return memmem(at, (size_t)(end - at), "\r\n\r\n", 4) ? DONE : MORE;
        at += 2;
        if ((size_t)(end - at) < size + 2) return MORE;
        if (memcmp(at + size, "\r\n", 2) != 0) return BAD;
        memcpy(body + a->length, at, size);
        a->length += size;
        at += size + 2;
    }
}

static bool fold(struct scan *s, const char *word) // take(), whatever the case
{
    size_t n = strlen(word);
    if ((size_t)(s->end - s->at) < n || strncasecmp((const char *)s->at, word, n) != 0) return false;
    s->at += n;
    return true;
}

// Reads *length (-1 before) and *chunked from a header line; false when it says what cannot be obeyed.
static bool header(struct scan s, long *length, bool *chunked)
{
    if (fold(&s, "transfer-encoding:")) {
        blank(&s);
        return *chunked = fold(&s, "chunked") && s.at == s.end;
    }
    if (!fold(&s, "content-length:")) return true;
    blank(&s);
    const char *from = (const char *)s.at;
    if (*length >= 0 || !digits(&s) || s.at != s.end || (const char *)s.at - from > 9) return false;
    *length = strtol(from, NULL, 10); // CR follows
    return true;
}

static enum progress parse(const char *at, size_t n, bool closed, struct answer *a)
{
    const char *end = at + n, *head = memmem(at, n, "\r\n\r\n", 4);
    struct scan s = {(const unsigned char *)at, (const unsigned char *)head};
    long length = -1;
    bool chunked = false;
    if (!head) return MORE;
    if (!take(&s, "HTTP/1.1 ") && !take(&s, "HTTP/1.0 ")) return BAD;
    if (!digits(&s) || (const char *)s.at != at + 12 || (*s.at != ' ' && *s.at != '\r') || !memchr("245", at[9], 3)) return BAD;
    for (const char *line = memmem(at, n, "\r\n", 2), *next; line < head; line = next) {
        next = memmem(line + 2, (size_t)(end - line - 2), "\r\n", 2);
        if (!header((struct scan){(const unsigned char *)line + 2, (const unsigned char *)next}, &length, &chunked)) return BAD;
    }
    *a = (struct answer){(int)strtol(at + 9, NULL, 10), head + 4, 0};
    if (a->status == 204) return DONE;
    if (chunked) return unchunk(a->body, end, a);
    a->length = length < 0 ? (size_t)(end - a->body) : (size_t)length;
    return (size_t)(end - a->body) < a->length || (length < 0 && !closed) ? MORE : DONE;
}

static const struct command { const char *name, *path; int seconds, down; } COMMANDS[] = {
    {"ADD", "add", 220, TRY_AGAIN}, {"DEL", "del", 60, TRY_AGAIN}, {"CHECK", "check", 30, TRY_AGAIN},
    {"GC", "gc", 30, TRY_AGAIN}, {"STATUS", "status", 30, NOT_AVAILABLE},
};

static const char *reason(int error, int seconds)
{
    static char other[40];
    switch (error) {
    case ENOENT: return "there is no such socket";
    case ECONNREFUSED: return "nobody listens on it";
    case EACCES: return "permission denied";
    case ECONNRESET: return "it closed the connection before its answer was complete";
    }
    snprintf(other, sizeof other, error == EINTR ? "no answer within %d s" : "error number %d", error == EINTR ? seconds : error);
    return other;
}

static void ring(int signal) { (void)signal; }

// When the time is up, what blocks fails with EINTR; so does what blocks a little later, hence the interval.
static void limit(long milliseconds)
{
    struct itimerval t = {{0, 100000}, {milliseconds / 1000, milliseconds % 1000 * 1000}};
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = ring}, NULL);
    setitimer(ITIMER_REAL, &t, NULL);
}

// NULL when *a holds the answer, else why there is none.
static const char *ask(const struct command *c, const char *path, const char *body, size_t size, struct answer *a)
{
    static char reply[LIMIT], head[200];
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int n = snprintf(head, sizeof head, "POST /api/v1/%s HTTP/1.1\r\nHost: kube-ovn-cni\r\nContent-Type: application/json\r\n"
                     "Connection: close\r\nContent-Length: %zu\r\n\r\n", c->path, size);
    strncpy(to.sun_path, path, PATH);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0) return reason(errno, c->seconds);
    send(fd, head, (size_t)n, 0); // what goes wrong here shows below; it may have answered all the same
    send(fd, body, size, 0);
    for (size_t got = 0;;) {
        ssize_t more = recv(fd, reply + got, LIMIT - got, 0);
        if (more < 0) return reason(errno, c->seconds);
        got += (size_t)more;
        enum progress progress = parse(reply, got, more == 0, a);
        if (progress == DONE) return NULL;
        if (progress == BAD) return "its answer is not understood";
        if (got == LIMIT) return "its answer is larger than 1 MiB";
        if (more == 0) return reason(ECONNRESET, 0);
    }
}

// ---- the call

static char cni_version[17] = "1.0.0";

static void escaped(FILE *to, const char *text)
{
    for (; *text; text++)
        fprintf(to, (unsigned char)*text < 0x20 ? "\\u%04x" : *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
}

static int fail(int code, const char *msg, const char *about, const char *details, const char *more)
{
    printf("{\"cniVersion\": \"%s\", \"code\": %d, \"msg\": \"%s", cni_version, code, msg);
    escaped(stdout, about);
    printf("\", \"details\": \"%s%s\"}\n", details, more);
    return 1;
}

// Writes the CNI_* variables as members of a JSON object. Returns the name of one that JSON cannot carry, or NULL.
static const char *environment(FILE *to)
{
    const char *comma = "";
    for (char **e = environ; *e; e++) {
        char *value = strchr(*e, '=');
        if (!value || strncmp(*e, "CNI_", 4) != 0) continue;
        *value++ = 0;
        if (!utf8(*e, strlen(*e))) return "CNI_...";
        if (!utf8(value, strlen(value))) return *e;
        fprintf(to, "%s\"", comma);
        escaped(to, *e);
        fputs("\": \"", to);
        escaped(to, value);
        fputs("\"", to);
        comma = ", ";
    }
    return NULL;
}

static int call(const char *name)
{
    static char config[LIMIT + 1], path[PATH + 1] = SOCKET;
    static char *body; // static, because exit() writes what an open stream still holds
    static size_t size;
    const struct command *c = COMMANDS, *end = COMMANDS + sizeof COMMANDS / sizeof *COMMANDS;
    size_t n = fread(config, 1, sizeof config, stdin);
    if (ferror(stdin)) return fail(IO, "cannot read stdin", "", "", "");
    bool decoded = n <= LIMIT && decode(config, n);
    size_t length = version.kind == STRING ? strlen(version.value) : 0;
    if (length && length < sizeof cni_version && strspn(version.value, "0123456789.") == length) strcpy(cni_version, version.value);
    FILE *f = open_memstream(&body, &size);
    if (!f) return fail(TRY_AGAIN, "out of memory", "", "", "");
    fputs("{\"env\": {", f);
    const char *bad = environment(f);
    if (bad) return fail(ENVIRONMENT, "not UTF-8: the environment variable ", bad, "", "");
    while (c < end && strcmp(c->name, name) != 0) c++;
    if (c == end) return fail(ENVIRONMENT, "CNI_COMMAND must be ADD, DEL, CHECK, GC, STATUS or VERSION, not ", name, "", "");
    if (!decoded)
        return fail(DECODING, "failed to decode content", "", "stdin must hold the network configuration: one JSON object in UTF-8, ",
                    "at most 1 MiB long and 100 levels deep");
    struct field *at = type.kind == ABSENT || is(&type, "kube-ovn") ? &top_socket : &ipam_socket;
    if (at->kind == OTHER)
        return fail(CONFIG, "invalid network configuration", "", "server_socket must be the path of a unix socket: ",
                    "at most 107 ASCII characters, without NUL");
    fputs("}, \"config\": ", f);
    fwrite(config, 1, n, f);
    fputs("}", f);
    if (fclose(f) != 0) return fail(TRY_AGAIN, "out of memory", "", "", "");
    struct answer a;
    if (at->kind == STRING && *at->value) strcpy(path, at->value);
    limit((long)c->seconds * MILLISECONDS);
    const char *why = ask(c, path, body, size, &a);
    limit(0);
    if (!why && a.status >= 400 && !decode(a.body, a.length)) why = "it answered with an error that is not a CNI error";
    if (why) return fail(c->down, "the agent of this node does not answer at ", path, why, "; " LOOK);
    fwrite(a.body, 1, a.length, stdout);
    return a.status >= 400;
}

int main(void)
{
    const char *name = getenv("CNI_COMMAND");
    int status = 0;
    signal(SIGPIPE, SIG_IGN);
    if (!name) {
        fputs(USAGE, stderr);
        return 1;
    }
    if (strcmp(name, "VERSION") == 0)
        fputs(VERSIONS, stdout);
    else
        status = call(name);
    return fflush(stdout) != 0 || ferror(stdout) ? 1 : status;
}
