/*
 * Lookup in the generated error table, and the caller-owned description of what went wrong.
 *
 * Invariant: err_info.text is always NUL-terminated; a text that does not fit is cut, never
 * refused. No state.
 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

extern const struct err_row err_rows[ERR_COUNT];

const struct err_row *err_row(enum err err)
{
    ASSERT((unsigned)err < ERR_COUNT);
    ASSERT(err_rows[err].name); /* the generated table has no holes */
    return &err_rows[err];
}

/*
 * Classes matter more than names here: full disk and too large a file are both cured by room, a
 * missing folder and a missing file by making them.
 */
enum err err_from_errno(int posix_errno)
{
    switch (posix_errno) {
    case 0:
        return ERR_OK;
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY:
        return ERR_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_UNAUTHORIZED;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_DISK_FULL;
    case EIO:
        return ERR_DISK_IO;
    case ENOMEM:
        return ERR_NO_MEMORY;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
        return ERR_LIMIT;
    case EINVAL:
    case EISDIR:
    case ENAMETOOLONG:
    case EADDRNOTAVAIL:
        return ERR_INVALID_ARGUMENT;
    case EADDRINUSE:
        return ERR_PORT_IN_USE;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case EAGAIN:
    case EBUSY:
        return ERR_BUSY;
    case EPIPE:
    case ECONNRESET:
    case ECONNREFUSED:
    case ECONNABORTED:
    case ENOTCONN:
        return ERR_CONNECTION_LOST;
    default:
        return ERR_INTERNAL;
    }
}

enum err err_info_set(struct err_info *info, enum err code, const char *format, ...)
{
    ASSERT(format);
    ASSERT((unsigned)code < ERR_COUNT);
    if (!info)
        return code;
    info->code = code;
    va_list args;
    va_start(args, format);
    vsnprintf(info->text, sizeof(info->text), format, args);
    va_end(args);
    return code;
}

/*
 * Outer context goes in front and the inner text is cut when room is short: what was being done is
 * worth more than the end of a long reason.
 */
void err_info_wrap(struct err_info *info, const char *format, ...)
{
    ASSERT(format);
    if (!info)
        return;
    char context[sizeof(info->text)];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(context, sizeof(context), format, args);
    va_end(args);
    if (len < 0)
        return;
    size_t front = strnlen(context, sizeof(context) - 1);
    if (front + 2 >= sizeof(info->text))
        front = sizeof(info->text) - 3; /* at least ": " and the NUL remain */
    size_t room = sizeof(info->text) - front - 2 - 1;
    size_t back = strnlen(info->text, sizeof(info->text) - 1);
    if (back > room)
        back = room;
    memmove(info->text + front + 2, info->text, back);
    memcpy(info->text, context, front);
    memcpy(info->text + front, ": ", 2);
    info->text[front + 2 + back] = '\0';
    ASSERT(front + 2 + back < sizeof(info->text));
}
