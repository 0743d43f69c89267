/*
 * Geometry in the plane and on the ellipsoid (see exec/geo.h).
 *
 * Predicates compare every edge of one with every edge of the other, after a look at their boxes.
 * Distances between points follow Vincenty's inverse formula; where it does not converge, near the
 * point opposite, the great circle of the mean radius stands in, which is off by up to half a percent.
 *
 * Invariants: (1) a geometry that was read has been checked: finite, in range, enough points, a
 * closed ring; (2) no geometry has more than GEO_POINTS_MAX points, so that a predicate ends.
 * Ownership: points in the caller's arena. Failure: a text that says what is wrong.
 */
#include "exec/geo.h"

#include <math.h>

#include "base/numtext.h"
#include "codec/json_scan.h"

#define RADIANS (M_PI / 180)

const char *geo_check(const struct geo *geo)
{
    const struct geo_point *last = &geo->points[geo->count - 1];

    ASSERT(geo->count > 0 && geo->count <= GEO_POINTS_MAX);
    for (uint32_t i = 0; i < geo->count; i++) {
        const struct geo_point *p = &geo->points[i];
        if (!(p->lat >= -90 && p->lat <= 90))
            return "a latitude is not between -90 and 90";
        if (!(p->lon >= -180 && p->lon <= 180))
            return "a longitude is not between -180 and 180";
    }
    if (geo->kind == GEO_LINE && geo->count < 2)
        return "a line string has at least two points";
    if (geo->kind != GEO_POLYGON)
        return NULL;
    if (geo->count < 4)
        return "a polygon has at least three different points";
    if (last->lon != geo->points[0].lon || last->lat != geo->points[0].lat)
        return "the first and the last point of a polygon must be the same";
    return NULL;
}

static struct slice cell_slice(const struct json_cell *cell)
{
    return slice_make(cell->data, cell->len);
}

/* [lon, lat] or [lon, lat, height]. */
static bool read_position(const struct json_cell *cell, struct geo_point *ret_point)
{
    double values[2] = {0, 0};
    struct json_cell item;
    size_t at = 0;
    unsigned count = 0;

    if (cell->kind != JSON_KIND_ARRAY)
        return false;
    for (; json_source_next_element(cell_slice(cell), &at, &item); count++) {
        if (item.kind != JSON_KIND_INT && item.kind != JSON_KIND_FLOAT)
            return false;
        if (count < 2 && !numtext_read_double(cell_slice(&item), &values[count]))
            return false;
    }
    *ret_point = (struct geo_point){values[0], values[1]};
    return count == 2 || count == 3;
}

static const char *points_alloc(struct arena *arena, uint32_t count, struct geo *geo)
{
    if (count == 0)
        return "it has no points";
    if (count > GEO_POINTS_MAX)
        return "it has more than 4096 points";
    geo->points = ARENA_ARRAY(arena, struct geo_point, count);
    geo->count = count;
    return geo->points == NULL ? "there is no memory for its points" : NULL;
}

static const char *read_positions(const struct json_cell *list, struct arena *arena, struct geo *geo)
{
    struct json_cell item;
    uint32_t count = 0;
    size_t at = 0;

    if (list->kind != JSON_KIND_ARRAY)
        return "its coordinates are no array";
    while (json_source_next_element(cell_slice(list), &at, &item))
        count++;
    const char *wrong = points_alloc(arena, count, geo);
    at = 0;
    for (uint32_t i = 0; i < count && wrong == NULL; i++) {
        if (!json_source_next_element(cell_slice(list), &at, &item) ||
            !read_position(&item, &geo->points[i]))
            wrong = "a position is no array of two numbers";
    }
    return wrong;
}

const char *geo_read_json(struct slice source, struct arena *arena, struct geo *ret_geo)
{
    struct json_cell type = json_source_get(source, SLICE_LIT("type"));
    struct json_cell coordinates = json_source_get(source, SLICE_LIT("coordinates"));
    struct json_cell ring = {.kind = JSON_KIND_MISSING};
    struct json_cell more;
    const char *wrong;
    size_t at = 0;

    if (type.kind != JSON_KIND_TEXT || coordinates.kind != JSON_KIND_ARRAY)
        return "a GeoJSON record has a type and coordinates";
    if (slice_equal(cell_slice(&type), SLICE_LIT("Point"))) {
        ret_geo->kind = GEO_POINT;
        wrong = points_alloc(arena, 1, ret_geo);
        if (wrong == NULL && !read_position(&coordinates, ret_geo->points))
            wrong = "a position is no array of two numbers";
    } else if (slice_equal(cell_slice(&type), SLICE_LIT("LineString"))) {
        ret_geo->kind = GEO_LINE;
        wrong = read_positions(&coordinates, arena, ret_geo);
    } else if (slice_equal(cell_slice(&type), SLICE_LIT("Polygon"))) {
        ret_geo->kind = GEO_POLYGON;
        if (!json_source_next_element(cell_slice(&coordinates), &at, &ring))
            return "it has no points";
        if (json_source_next_element(cell_slice(&coordinates), &at, &more))
            return "a polygon has one ring";
        wrong = read_positions(&ring, arena, ret_geo);
    } else {
        return "its type is not Point, LineString or Polygon";
    }
    return wrong != NULL ? wrong : geo_check(ret_geo);
}

struct text {
    struct slice bytes;
    size_t at;
};

static void text_blank(struct text *text)
{
    while (text->at < text->bytes.len && (text->bytes.data[text->at] == ' ' ||
                                          (text->bytes.data[text->at] >= '\t' &&
                                           text->bytes.data[text->at] <= '\r')))
        text->at++;
}

static bool text_take(struct text *text, char byte)
{
    text_blank(text);
    if (text->at >= text->bytes.len || text->bytes.data[text->at] != (uint8_t)byte)
        return false;
    text->at++;
    return true;
}

static bool text_word(struct text *text, struct slice word)
{
    text_blank(text);
    if (!slice_equal_nocase(slice_sub(text->bytes, text->at, word.len), word))
        return false;
    text->at += word.len;
    return true;
}

static bool text_number(struct text *text, double *ret_value)
{
    text_blank(text);
    size_t start = text->at;
    while (text->at < text->bytes.len &&
           (memchr("+-.eE", text->bytes.data[text->at], 5) != NULL ||
            (text->bytes.data[text->at] >= '0' && text->bytes.data[text->at] <= '9')))
        text->at++;
    return numtext_read_double(slice_sub(text->bytes, start, text->at - start), ret_value);
}

/* (lon lat, lon lat ...) */
static const char *text_points(struct text *text, struct arena *arena, struct geo *geo)
{
    uint32_t count = 1;

    if (!text_take(text, '('))
        return "a bracket is missing";
    for (size_t i = text->at; i < text->bytes.len && text->bytes.data[i] != ')'; i++)
        count += text->bytes.data[i] == ',';
    const char *wrong = points_alloc(arena, count, geo);
    for (uint32_t i = 0; i < count && wrong == NULL; i++) {
        if ((i > 0 && !text_take(text, ',')) || !text_number(text, &geo->points[i].lon) ||
            !text_number(text, &geo->points[i].lat))
            wrong = "two numbers are expected for each point";
    }
    if (wrong == NULL && !text_take(text, ')'))
        wrong = "a bracket is missing";
    return wrong;
}

const char *geo_read_text(struct slice bytes, struct arena *arena, struct geo *ret_geo)
{
    struct text text = {bytes, 0};
    const char *wrong = NULL;

    if (text_word(&text, SLICE_LIT("POINT")))
        ret_geo->kind = GEO_POINT;
    else if (text_word(&text, SLICE_LIT("LINESTRING")))
        ret_geo->kind = GEO_LINE;
    else if (text_word(&text, SLICE_LIT("POLYGON")))
        ret_geo->kind = GEO_POLYGON;
    else
        return "it does not begin with POINT, LINESTRING or POLYGON";
    if (ret_geo->kind == GEO_POLYGON && !text_take(&text, '('))
        return "a bracket is missing";
    wrong = text_points(&text, arena, ret_geo);
    if (wrong == NULL && ret_geo->kind == GEO_POLYGON && !text_take(&text, ')'))
        wrong = "a polygon has one ring";
    text_blank(&text);
    if (wrong == NULL && (text.at < bytes.len || (ret_geo->kind == GEO_POINT && ret_geo->count > 1)))
        wrong = "something follows it";
    return wrong != NULL ? wrong : geo_check(ret_geo);
}

/* On which side of the line from p to q is r: the sign of the area. */
static int side(struct geo_point p, struct geo_point q, struct geo_point r)
{
    double area = (q.lon - p.lon) * (r.lat - p.lat) - (q.lat - p.lat) * (r.lon - p.lon);
    return (area > 0) - (area < 0);
}

/* r, which is in line with p and q, lies between them. */
static bool between(struct geo_point p, struct geo_point q, struct geo_point r)
{
    return r.lon >= fmin(p.lon, q.lon) && r.lon <= fmax(p.lon, q.lon) &&
           r.lat >= fmin(p.lat, q.lat) && r.lat <= fmax(p.lat, q.lat);
}

enum crossing { APART, TOUCHING, CROSSING };

static enum crossing edges_meet(struct geo_point a, struct geo_point b, struct geo_point c,
                                struct geo_point d)
{
    if (fmax(a.lon, b.lon) < fmin(c.lon, d.lon) || fmax(c.lon, d.lon) < fmin(a.lon, b.lon) ||
        fmax(a.lat, b.lat) < fmin(c.lat, d.lat) || fmax(c.lat, d.lat) < fmin(a.lat, b.lat))
        return APART;
    int abc = side(a, b, c);
    int abd = side(a, b, d);
    int cda = side(c, d, a);
    int cdb = side(c, d, b);
    if (abc * abd < 0 && cda * cdb < 0)
        return CROSSING;
    bool touch = (abc == 0 && between(a, b, c)) || (abd == 0 && between(a, b, d)) ||
                 (cda == 0 && between(c, d, a)) || (cdb == 0 && between(c, d, b));
    return touch ? TOUCHING : APART;
}

static uint32_t edge_count(const struct geo *geo)
{
    return geo->kind == GEO_POINT ? 1 : geo->count - 1;
}

/* End of edge i; a point is an edge without length. */
static struct geo_point edge_end(const struct geo *geo, uint32_t i)
{
    return geo->points[geo->kind == GEO_POINT ? i : i + 1];
}

static struct geo_point edge_middle(const struct geo *geo, uint32_t i)
{
    struct geo_point end = edge_end(geo, i);
    return (struct geo_point){(geo->points[i].lon + end.lon) / 2, (geo->points[i].lat + end.lat) / 2};
}

static enum crossing outlines_meet(const struct geo *a, const struct geo *b)
{
    enum crossing most = APART;

    for (uint32_t i = 0; i < edge_count(a) && most < CROSSING; i++) {
        for (uint32_t k = 0; k < edge_count(b) && most < CROSSING; k++) {
            enum crossing meet =
                edges_meet(a->points[i], edge_end(a, i), b->points[k], edge_end(b, k));
            most = meet > most ? meet : most;
        }
    }
    return most;
}

enum place { OUTSIDE, EDGE, INSIDE };

static enum place ring_place(const struct geo *polygon, struct geo_point p)
{
    bool inside = false;

    ASSERT(polygon->kind == GEO_POLYGON);
    for (uint32_t i = 0; i + 1 < polygon->count; i++) {
        struct geo_point a = polygon->points[i];
        struct geo_point b = polygon->points[i + 1];
        if (side(a, b, p) == 0 && between(a, b, p))
            return EDGE;
        if ((a.lat > p.lat) != (b.lat > p.lat) &&
            p.lon < (b.lon - a.lon) * (p.lat - a.lat) / (b.lat - a.lat) + a.lon)
            inside = !inside;
    }
    return inside ? INSIDE : OUTSIDE;
}

bool geo_intersects(const struct geo *a, const struct geo *b)
{
    return outlines_meet(a, b) != APART ||
           (a->kind == GEO_POLYGON && ring_place(a, b->points[0]) != OUTSIDE) ||
           (b->kind == GEO_POLYGON && ring_place(b, a->points[0]) != OUTSIDE);
}

/* The places of a's points and the middles of its edges. */
static void places(const struct geo *a, const struct geo *polygon, bool *ret_inside,
                   bool *ret_outside)
{
    *ret_inside = false;
    *ret_outside = false;
    for (uint32_t i = 0; i < edge_count(a); i++) {
        enum place point = ring_place(polygon, a->points[i]);
        enum place middle = ring_place(polygon, edge_middle(a, i));
        *ret_inside |= point == INSIDE || middle == INSIDE;
        *ret_outside |= point == OUTSIDE || middle == OUTSIDE;
    }
    if (a->kind == GEO_LINE) {
        enum place last = ring_place(polygon, a->points[a->count - 1]);
        *ret_inside |= last == INSIDE;
        *ret_outside |= last == OUTSIDE;
    }
}

bool geo_within(const struct geo *a, const struct geo *polygon)
{
    bool inside;
    bool outside;

    if (polygon->kind != GEO_POLYGON || outlines_meet(a, polygon) == CROSSING)
        return false;
    places(a, polygon, &inside, &outside);
    return !outside && (inside || a->kind == GEO_POLYGON);
}

bool geo_overlaps(const struct geo *a, const struct geo *b)
{
    bool inside_a;
    bool inside_b;
    bool outside;

    if (a->kind != GEO_POLYGON || b->kind != GEO_POLYGON || geo_within(a, b) || geo_within(b, a))
        return false;
    places(a, b, &inside_a, &outside);
    places(b, a, &inside_b, &outside);
    return inside_a || inside_b || outlines_meet(a, b) == CROSSING;
}

static double great_circle(struct geo_point p, struct geo_point q)
{
    double lat = sin((q.lat - p.lat) * RADIANS / 2);
    double lon = sin((q.lon - p.lon) * RADIANS / 2);
    double h = lat * lat + cos(p.lat * RADIANS) * cos(q.lat * RADIANS) * lon * lon;
    return 2 * 6371008.8 * asin(fmin(1, sqrt(h)));
}

/* What one round of Vincenty's inverse formula knows. */
struct vincenty {
    double sin_sigma, cos_sigma, sigma;
    double cos_alpha2; /* square of the azimuth's cosine at the equator */
    double cos_middle; /* cosine of twice the angle to the line's middle */
};

static double vincenty_metres(const struct vincenty *v)
{
    const double a = 6378137.0;
    const double b = 6356752.314245179;
    double u2 = v->cos_alpha2 * (a * a - b * b) / (b * b);
    double big_a = 1 + u2 / 16384 * (4096 + u2 * (-768 + u2 * (320 - 175 * u2)));
    double big_b = u2 / 1024 * (256 + u2 * (-128 + u2 * (74 - 47 * u2)));
    double m2 = v->cos_middle * v->cos_middle;
    double inner = v->cos_sigma * (2 * m2 - 1) -
                   big_b / 6 * v->cos_middle * (4 * v->sin_sigma * v->sin_sigma - 3) * (4 * m2 - 3);
    double delta = big_b * v->sin_sigma * (v->cos_middle + big_b / 4 * inner);
    return b * big_a * (v->sigma - delta);
}

static double point_distance(struct geo_point p, struct geo_point q)
{
    const double f = 1 / 298.257223563;
    double u1 = atan((1 - f) * tan(p.lat * RADIANS));
    double u2 = atan((1 - f) * tan(q.lat * RADIANS));
    double l = remainder(q.lon - p.lon, 360) * RADIANS; /* the shorter way round */
    double lambda = l;

    if (p.lon == q.lon && p.lat == q.lat)
        return 0;
    for (unsigned round = 0; round < 200; round++) {
        struct vincenty v;
        double across = cos(u2) * sin(lambda);
        double along = cos(u1) * sin(u2) - sin(u1) * cos(u2) * cos(lambda);
        v.sin_sigma = sqrt(across * across + along * along);
        if (v.sin_sigma == 0)
            break; /* the same point, or the one opposite */
        v.cos_sigma = sin(u1) * sin(u2) + cos(u1) * cos(u2) * cos(lambda);
        v.sigma = atan2(v.sin_sigma, v.cos_sigma);
        double sin_alpha = cos(u1) * cos(u2) * sin(lambda) / v.sin_sigma;
        v.cos_alpha2 = 1 - sin_alpha * sin_alpha;
        v.cos_middle =
            v.cos_alpha2 < 1e-15 ? 0 : v.cos_sigma - 2 * sin(u1) * sin(u2) / v.cos_alpha2;
        double c = f / 16 * v.cos_alpha2 * (4 + f * (4 - 3 * v.cos_alpha2));
        double before = lambda;
        double inner = v.cos_middle + c * v.cos_sigma * (2 * v.cos_middle * v.cos_middle - 1);
        lambda = l + (1 - c) * f * sin_alpha * (v.sigma + c * v.sin_sigma * inner);
        if (fabs(lambda) > M_PI + 1)
            break;
        if (fabs(lambda - before) < 1e-12)
            return vincenty_metres(&v);
    }
    return great_circle(p, q);
}

/* The point of an edge that is nearest to p, in the plane with longitudes shrunk at p. */
static struct geo_point nearest(struct geo_point a, struct geo_point b, struct geo_point p)
{
    double shrink = cos(p.lat * RADIANS);
    double dx = (b.lon - a.lon) * shrink;
    double dy = b.lat - a.lat;
    double length = dx * dx + dy * dy;
    double t = length == 0 ? 0 : ((p.lon - a.lon) * shrink * dx + (p.lat - a.lat) * dy) / length;

    t = fmin(1, fmax(0, t));
    return (struct geo_point){a.lon + t * (b.lon - a.lon), a.lat + t * (b.lat - a.lat)};
}

static double outline_distance(const struct geo *from, const struct geo *to)
{
    double least = INFINITY;

    for (uint32_t i = 0; i < from->count; i++) {
        for (uint32_t k = 0; k < edge_count(to); k++) {
            struct geo_point near = nearest(to->points[k], edge_end(to, k), from->points[i]);
            least = fmin(least, point_distance(from->points[i], near));
        }
    }
    return least;
}

double geo_distance(const struct geo *a, const struct geo *b)
{
    if (a->kind == GEO_POINT && b->kind == GEO_POINT)
        return point_distance(a->points[0], b->points[0]);
    if (a->kind == GEO_POLYGON || b->kind == GEO_POLYGON || geo_intersects(a, b))
        return 0;
    return fmin(outline_distance(a, b), outline_distance(b, a));
}
