/*
 * Geospatial functions: CreatePoint, CreateLineString, CreatePolygon, ST_DISTANCE, ST_INTERSECTS, ST_OVERLAPS,
 * ST_WITHIN.
 *
 * A geometry is a GeoJSON record or, where it is read, well-known text too. CreatePoint takes latitude and longitude;
 * in GeoJSON the longitude stands first.
 * Invariant: what the Create functions make has been checked. Ownership: results in the batch's arena. Failure: runtime
 * errors that say what is wrong with a geometry.
 */
#include "base/assert.h"
#include "codec/json_write.h"
#include "exec/expr_int.h"
#include "exec/geo.h"

static enum err malformed(struct exec_ctx *ctx, const char *function, const char *wrong)
{
    return err_info_set(ctx->info, ERR_SQL_RUNTIME, "%s: a geometry is not well-formed: %s", function,
                        wrong);
}

static enum err arg_geo(struct exec_ctx *ctx, const char *function, uint32_t index,
                        const struct value *value, struct geo *ret_geo)
{
    const char *wrong;

    if (value->type == SQL_RECORD)
        wrong = geo_read_json(value_slice(value), ctx->arena, ret_geo);
    else if (value->type == SQL_TEXT)
        wrong = geo_read_text(value_slice(value), ctx->arena, ret_geo);
    else
        return exec_argument_error(ctx, function, index, value, "'{record}', '{nvarchar(max)}'");
    return wrong == NULL ? ERR_OK : malformed(ctx, function, wrong);
}

static void write_position(struct bytebuf *out, struct geo_point p)
{
    bytebuf_append_byte(out, '[');
    json_write_float(out, p.lon);
    bytebuf_append_byte(out, ',');
    json_write_float(out, p.lat);
    bytebuf_append_byte(out, ']');
}

/* The GeoJSON record of a checked geometry. */
static enum err geo_record(struct exec_ctx *ctx, const char *function, const struct geo *geo,
                           struct value *ret_value)
{
    static const char *const heads[] = {"{\"type\":\"Point\",\"coordinates\":",
                                        "{\"type\":\"LineString\",\"coordinates\":[",
                                        "{\"type\":\"Polygon\",\"coordinates\":[["};
    static const char *const tails[] = {"}", "]}", "]]}"};
    struct bytebuf *out = &ctx->scratch;
    const char *wrong = geo_check(geo);

    if (wrong != NULL)
        return malformed(ctx, function, wrong);
    bytebuf_clear(out);
    bytebuf_append_cstr(out, heads[geo->kind]);
    for (uint32_t i = 0; i < geo->count; i++) {
        if (i > 0)
            bytebuf_append_byte(out, ',');
        write_position(out, geo->points[i]);
    }
    bytebuf_append_cstr(out, tails[geo->kind]);
    struct slice text = arena_copy(ctx->arena, bytebuf_slice(out));
    *ret_value = value_text(text);
    ret_value->type = SQL_RECORD;
    return text.data == NULL || out->failed ? exec_memory_error(ctx) : ERR_OK;
}

EXEC_FN(createpoint)
{
    struct geo_point point = {0, 0};
    struct geo geo = {GEO_POINT, 1, &point};
    struct value n;
    enum err err = exec_arg_number(ctx, "createpoint", 1, &args[0], &n);

    if (err == ERR_OK && value_to_double(&n, &point.lat))
        err = exec_arg_number(ctx, "createpoint", 2, &args[1], &n);
    if (err != ERR_OK)
        return err;
    (void)value_to_double(&n, &point.lon);
    return geo_record(ctx, "createpoint", &geo, ret_value);
}

/* A geometry of many points from as many point records. */
static enum err create_of_points(struct exec_ctx *ctx, const char *function, enum geo_kind kind,
                                 const struct value *args, uint32_t count, struct value *ret_value)
{
    struct geo geo = {kind, count, ARENA_ARRAY(ctx->arena, struct geo_point, count)};
    struct geo point;
    enum err err = ERR_OK;

    ASSERT(count <= GEO_POINTS_MAX);
    if (geo.points == NULL)
        return exec_memory_error(ctx);
    for (uint32_t i = 0; i < count && err == ERR_OK; i++) {
        err = arg_geo(ctx, function, i + 1, &args[i], &point);
        if (err == ERR_OK && point.kind != GEO_POINT)
            err = malformed(ctx, function, "its parts are no points");
        if (err == ERR_OK)
            geo.points[i] = point.points[0];
    }
    return err == ERR_OK ? geo_record(ctx, function, &geo, ret_value) : err;
}

EXEC_FN(createlinestring)
{
    return create_of_points(ctx, "createlinestring", GEO_LINE, args, count, ret_value);
}

EXEC_FN(createpolygon)
{
    return create_of_points(ctx, "createpolygon", GEO_POLYGON, args, count, ret_value);
}

static enum err arg_pair(struct exec_ctx *ctx, const char *function, const struct value *args,
                         struct geo pair[2])
{
    enum err err = arg_geo(ctx, function, 1, &args[0], &pair[0]);
    return err == ERR_OK ? arg_geo(ctx, function, 2, &args[1], &pair[1]) : err;
}

EXEC_FN(st_distance)
{
    struct geo pair[2];
    enum err err = arg_pair(ctx, "st_distance", args, pair);

    if (err == ERR_OK)
        *ret_value = value_float(geo_distance(&pair[0], &pair[1]));
    return err;
}

EXEC_FN(st_intersects)
{
    struct geo pair[2];
    enum err err = arg_pair(ctx, "st_intersects", args, pair);

    if (err == ERR_OK)
        *ret_value = value_int(geo_intersects(&pair[0], &pair[1]));
    return err;
}

EXEC_FN(st_overlaps)
{
    struct geo pair[2];
    enum err err = arg_pair(ctx, "st_overlaps", args, pair);

    if (err == ERR_OK)
        *ret_value = value_int(geo_overlaps(&pair[0], &pair[1]));
    return err;
}

EXEC_FN(st_within)
{
    struct geo pair[2];
    enum err err = arg_pair(ctx, "st_within", args, pair);

    if (err == ERR_OK)
        *ret_value = value_int(geo_within(&pair[0], &pair[1]));
    return err;
}
