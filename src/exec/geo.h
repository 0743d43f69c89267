/*
 * Geometry for the geospatial functions: points, line strings and polygons of one ring, as GeoJSON
 * records or well-known text. Coordinates are longitude and latitude in degrees. Predicates work in
 * the plane, as the language does from level 1.2 on; distances are on the ellipsoid of WGS 84.
 */
#ifndef WEIR_EXEC_GEO_H
#define WEIR_EXEC_GEO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/slice.h"

enum { GEO_POINTS_MAX = 4096 };

enum geo_kind { GEO_POINT, GEO_LINE, GEO_POLYGON };

struct geo_point {
    double lon;
    double lat;
};

struct geo {
    enum geo_kind kind;
    uint32_t count;
    struct geo_point *points; /* of a polygon: its ring, the first point again at the end */
};

/* NULL: well-formed. Otherwise what is wrong with it. */
const char *geo_check(const struct geo *geo);
/* What is wrong with the source of a GeoJSON record, or with well-known text; NULL: *ret_geo holds it. */
const char *geo_read_json(struct slice source, struct arena *arena, struct geo *ret_geo);
const char *geo_read_text(struct slice text, struct arena *arena, struct geo *ret_geo);

/* They have a point in common. */
bool geo_intersects(const struct geo *a, const struct geo *b);
/* All of a lies in the polygon; a point on the edge does not. */
bool geo_within(const struct geo *a, const struct geo *polygon);
/* Two polygons have an area in common, and each has area that the other has not. */
bool geo_overlaps(const struct geo *a, const struct geo *b);
/* In metres; 0 where a polygon takes part, as the language has it. */
double geo_distance(const struct geo *a, const struct geo *b);

#endif
