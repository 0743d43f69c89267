/*
 * XML of the blob protocol: an appender for answers, Expat for the one document that comes in.
 *
 * The reader takes elements and text only: a DOCTYPE ends it, depth and sizes are bounded, so no
 * entity can grow.
 */
#include <expat.h>

#include "base/numtext.h"
#include "base/utf8.h"
#include "front/blob/blob_int.h"
#include "wire/base64.h"

void xml_begin(struct bytebuf *xml, size_t limit)
{
    bytebuf_init(xml, limit);
    bytebuf_append_cstr(xml, "<?xml version=\"1.0\" encoding=\"utf-8\"?>");
}

void xml_text(struct bytebuf *xml, struct slice text)
{
    size_t from = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *entity = NULL;
        switch (text.data[i]) {
        case '&':
            entity = "&amp;";
            break;
        case '<':
            entity = "&lt;";
            break;
        case '>':
            entity = "&gt;";
            break;
        case '"':
            entity = "&quot;";
            break;
        case '\r':
            entity = "&#xD;"; /* a bare one would be read as a line feed */
            break;
        default:
            continue;
        }
        bytebuf_append(xml, text.data + from, i - from);
        bytebuf_append_cstr(xml, entity);
        from = i + 1;
    }
    bytebuf_append(xml, text.data + from, text.len - from);
}

void xml_element(struct bytebuf *xml, const char *name, struct slice text)
{
    if (text.len == 0) {
        bytebuf_printf(xml, "<%s />", name);
        return;
    }
    bytebuf_printf(xml, "<%s>", name);
    xml_text(xml, text);
    bytebuf_printf(xml, "</%s>", name);
}

void xml_element_u64(struct bytebuf *xml, const char *name, uint64_t value)
{
    bytebuf_printf(xml, "<%s>%llu</%s>", name, (unsigned long long)value, name);
}

void xml_element_date(struct bytebuf *xml, const char *name, uint64_t ticks)
{
    char date[HTTP_DATE_SIZE];
    http_date_write(date, blobstore_ticks_unix(ticks));
    xml_element(xml, name, slice_make(date, HTTP_DATE_LEN));
}

/* Whether XML 1.0 can hold the text: no control characters but tab, LF and CR, no U+FFFE or U+FFFF.
 */
static bool xml_can_hold(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c < 0x20 && c != '\t' && c != '\n' && c != '\r')
            return false;
        if (c == 0xef && text.len - i >= 3 && text.data[i + 1] == 0xbf && text.data[i + 2] >= 0xbe)
            return false;
    }
    return true;
}

void xml_encoded(struct bytebuf *xml, const char *element, struct slice text)
{
    ASSERT(utf8_valid(text));
    if (xml_can_hold(text)) {
        xml_element(xml, element, text);
        return;
    }
    bytebuf_printf(xml, "<%s Encoded=\"true\">", element);
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     c == '-' || c == '_' || c == '.' || c == '~' || c == '/';
        if (plain)
            bytebuf_append_byte(xml, c);
        else
            bytebuf_printf(xml, "%%%02X", c);
    }
    bytebuf_printf(xml, "</%s>", element);
}

/* ---- BlockList ---- */

enum { ID_TEXT_MAX = 256 };

struct block_reader {
    XML_Parser parser;
    struct arena *arena;
    struct blobstore_block *blocks;
    uint32_t count;
    uint32_t cap;
    int depth;
    bool in_block;
    enum blobstore_block_source source;
    char text[ID_TEXT_MAX];
    size_t text_len;
    bool failed;
    enum blob_code code;
};

static void reader_fail(struct block_reader *reader, enum blob_code code)
{
    if (!reader->failed)
        reader->code = code;
    reader->failed = true;
    XML_StopParser(reader->parser, XML_FALSE);
}

static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system,
                       const XML_Char *public, int internal)
{
    reader_fail(arg, BLOB_INVALID_XML);
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    static const char *const names[] = {"Committed", "Uncommitted", "Latest"};
    struct block_reader *reader = arg;
    reader->depth++;
    if (reader->depth > 8) {
        reader_fail(reader, BLOB_INVALID_XML);
        return;
    }
    if (reader->depth == 1) {
        if (strcmp(name, "BlockList") != 0)
            reader_fail(reader, BLOB_INVALID_XML);
        return;
    }
    for (int i = 0; reader->depth == 2 && i < 3; i++) {
        if (strcmp(name, names[i]) != 0)
            continue;
        reader->in_block = true;
        reader->source = (enum blobstore_block_source)i;
        reader->text_len = 0;
        return;
    }
    reader_fail(reader, BLOB_INVALID_XML);
}

static void on_text(void *arg, const XML_Char *text, int len)
{
    struct block_reader *reader = arg;
    if (!reader->in_block)
        return;
    if ((size_t)len > sizeof(reader->text) - reader->text_len) {
        reader_fail(reader, BLOB_INVALID_BLOCK_ID);
        return;
    }
    memcpy(reader->text + reader->text_len, text, (size_t)len);
    reader->text_len += (size_t)len;
}

static bool blocks_grow(struct block_reader *reader)
{
    if (reader->count < reader->cap)
        return true;
    uint32_t cap = reader->cap ? reader->cap * 2 : 64;
    struct blobstore_block *grown = ARENA_ARRAY(reader->arena, struct blobstore_block, cap);
    if (!grown)
        return false;
    if (reader->count)
        memcpy(grown, reader->blocks, reader->count * sizeof(*grown));
    reader->blocks = grown;
    reader->cap = cap;
    return true;
}

static void on_end(void *arg, const XML_Char *name)
{
    struct block_reader *reader = arg;
    uint8_t id[ID_TEXT_MAX];
    size_t len = 0;
    reader->depth--;
    ASSERT(reader->depth >= 0 && reader->count <= BLOBSTORE_BLOCKS_MAX);
    if (!reader->in_block || reader->depth != 1)
        return;
    reader->in_block = false;
    struct slice text = slice_trim(slice_make(reader->text, reader->text_len));
    if (!base64_decode(text, id, &len) || len == 0 || len > BLOBSTORE_BLOCK_ID_MAX) {
        reader_fail(reader, BLOB_INVALID_BLOCK_ID);
        return;
    }
    if (reader->count == BLOBSTORE_BLOCKS_MAX) {
        reader_fail(reader, BLOB_BLOCK_LIST_TOO_LONG);
        return;
    }
    struct slice copy = arena_copy(reader->arena, slice_make(id, len));
    if (!copy.data || !blocks_grow(reader)) {
        reader_fail(reader, BLOB_SERVER_BUSY);
        return;
    }
    reader->blocks[reader->count++] =
        (struct blobstore_block){.id = copy, .source = reader->source};
}

enum blob_code xml_block_list(struct arena *arena, struct slice body,
                              struct blobstore_block **ret_blocks, uint32_t *ret_count,
                              bool *ret_ok)
{
    struct block_reader reader = {.arena = arena};
    ASSERT(body.len <= BLOB_XML_MAX);
    *ret_ok = false;
    reader.parser = XML_ParserCreate(NULL);
    if (!reader.parser)
        return BLOB_SERVER_BUSY;
    XML_SetUserData(reader.parser, &reader);
    XML_SetElementHandler(reader.parser, on_start, on_end);
    XML_SetCharacterDataHandler(reader.parser, on_text);
    XML_SetStartDoctypeDeclHandler(reader.parser, on_doctype);
    const char *text = body.data ? (const char *)body.data : "";
    enum XML_Status status = XML_Parse(reader.parser, text, (int)body.len, 1);
    XML_ParserFree(reader.parser);
    if (reader.failed)
        return reader.code;
    if (status != XML_STATUS_OK)
        return BLOB_INVALID_XML;
    *ret_ok = true;
    *ret_blocks = reader.blocks;
    *ret_count = reader.count;
    return BLOB_INVALID_XML;
}
