/* Geometry: what is read and refused, places in the plane, distances on the ellipsoid. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exec/geo.h"

#define SQUARE "POLYGON ((10 10, 20 10, 20 20, 10 20, 10 10))"
/* A C, open to the right: the middle of its right side is outside. */
#define NOTCHED "POLYGON ((0 0, 9 0, 9 3, 3 3, 3 6, 9 6, 9 9, 0 9, 0 0))"

static struct geo read_text(struct arena *arena, const char *text)
{
    struct geo geo;
    const char *wrong = geo_read_text(slice_cstr(text), arena, &geo);
    if (wrong != NULL)
        fail_msg("%s: %s", text, wrong);
    return geo;
}

static double distance(const char *a, const char *b)
{
    struct arena *arena = arena_create(NULL, "test", 1 << 20);
    struct geo ga = read_text(arena, a);
    struct geo gb = read_text(arena, b);
    double metres = geo_distance(&ga, &gb);
    double back = geo_distance(&gb, &ga);
    assert_true(fabs(metres - back) < 1e-3);
    arena_destroy(arena);
    return metres;
}

static void near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%.6f instead of %.6f", got, want);
}

static void test_distance(void **state)
{
    near(distance("POINT (-5 -5)", "POINT (0 0)"), 784028.73981, 0.002);
    near(distance("POINT (-73.8 40.6)", "POINT (-0.5 51.6)"), 5551759.400, 0.002);
    near(distance("POINT (1 1)", "POINT (1 1)"), 0, 0);
    near(distance("POINT (0 90)", "POINT (0 -90)"), 20003931.4586, 0.002);
    near(distance("POINT (179.5 0)", "POINT (-179.5 0)"), 111319.4908, 0.002);
    near(distance("POINT (0 0)", "POINT (179.5 0.5)"), 19936288.579, 100000);
    near(distance("POINT (0 1)", "LINESTRING (-1 0, 1 0)"), 110574.3886, 0.1);
    near(distance("LINESTRING (-1 -1, 1 1)", "LINESTRING (-1 1, 1 -1)"), 0, 0);
    near(distance("POINT (0 0)", SQUARE), 0, 0);
}

typedef bool (*predicate)(const struct geo *a, const struct geo *b);

static void expect(predicate holds, const char *a, const char *b, bool want)
{
    struct arena *arena = arena_create(NULL, "test", 1 << 20);
    struct geo ga = read_text(arena, a);
    struct geo gb = read_text(arena, b);
    if (holds(&ga, &gb) != want)
        fail_msg("%s, %s: not %d", a, b, want);
    arena_destroy(arena);
}

static void test_within(void **state)
{
    expect(geo_within, "POINT (15 15)", SQUARE, true);
    expect(geo_within, "POINT (10 15)", SQUARE, false);
    expect(geo_within, "POINT (20 20)", SQUARE, false);
    expect(geo_within, "POINT (25 15)", SQUARE, false);
    expect(geo_within, "POINT (15 15)", "POINT (15 15)", false);
    expect(geo_within, "POLYGON ((11 11, 12 11, 12 12, 11 11))", SQUARE, true);
    expect(geo_within, SQUARE, SQUARE, true);
    expect(geo_within, SQUARE, "POLYGON ((11 11, 12 11, 12 12, 11 11))", false);
    expect(geo_within, "LINESTRING (11 11, 19 19)", SQUARE, true);
    expect(geo_within, "LINESTRING (11 11, 29 19)", SQUARE, false);
    expect(geo_within, "LINESTRING (10 10, 20 10)", SQUARE, false);
    expect(geo_within, "POINT (6 4)", NOTCHED, false);
    expect(geo_within, "POINT (6 1)", NOTCHED, true);
    expect(geo_within, "LINESTRING (8 3, 8 6)", NOTCHED, false);
}

static void test_overlaps(void **state)
{
    expect(geo_overlaps, "POLYGON ((0 0, 20 0, 20 20, 0 20, 0 0))",
           "POLYGON ((10 10, 40 10, 40 40, 10 40, 10 10))", true);
    expect(geo_overlaps, SQUARE, "POLYGON ((11 11, 12 11, 12 12, 11 11))", false);
    expect(geo_overlaps, SQUARE, SQUARE, false);
    expect(geo_overlaps, SQUARE, "POLYGON ((20 10, 30 10, 30 20, 20 20, 20 10))", false);
    expect(geo_overlaps, SQUARE, "POLYGON ((50 50, 60 50, 60 60, 50 50))", false);
    expect(geo_overlaps, "POLYGON ((0 4, 9 4, 9 5, 0 5, 0 4))", "POLYGON ((4 0, 5 0, 5 9, 4 9, 4 0))",
           true);
    expect(geo_overlaps, "POINT (15 15)", SQUARE, false);
}

static void test_intersects(void **state)
{
    expect(geo_intersects, "LINESTRING (-10 0, 10 0)", "LINESTRING (0 -10, 0 10)", true);
    expect(geo_intersects, "LINESTRING (-10 0, 10 0)", "LINESTRING (-10 1, 10 1)", false);
    expect(geo_intersects, "LINESTRING (0 0, 5 5)", "LINESTRING (5 5, 9 0)", true);
    expect(geo_intersects, "LINESTRING (0 0, 5 5)", "LINESTRING (6 6, 9 9)", false);
    expect(geo_intersects, "LINESTRING (0 0, 5 5)", "LINESTRING (2 2, 9 9)", true);
    expect(geo_intersects, "POINT (10 15)", SQUARE, true);
    expect(geo_intersects, "POINT (15 15)", SQUARE, true);
    expect(geo_intersects, SQUARE, "POINT (15 15)", true);
    expect(geo_intersects, "POINT (5 15)", SQUARE, false);
    expect(geo_intersects, "POINT (1 1)", "LINESTRING (0 0, 5 5)", true);
    expect(geo_intersects, "POINT (1 1)", "POINT (1 1)", true);
    expect(geo_intersects, "POLYGON ((1 1, 2 1, 2 2, 1 1))", NOTCHED, true);
}

static void test_refused(void **state)
{
    static const char *const texts[] = {
        "", "CIRCLE (1 1)", "POINT", "POINT (1)", "POINT (1 1", "POINT (1 1) x", "POINT (1 1, 2 2)",
        "POINT (x y)", "POINT (181 0)", "POINT (0 91)", "POINT (0 -1e999)", "LINESTRING (1 1)",
        "LINESTRING ()", "POLYGON (1 1, 2 2, 3 3, 1 1)", "POLYGON ((1 1, 2 2, 1 1))",
        "POLYGON ((1 1, 2 1, 2 2, 1 2))", "POLYGON ((0 0, 9 0, 9 9, 0 0), (1 1, 2 1, 2 2, 1 1))"};
    static const char *const records[] = {
        "{}", "{\"type\":\"Point\"}", "{\"type\":\"Point\",\"coordinates\":[]}",
        "{\"type\":\"Point\",\"coordinates\":[1]}", "{\"type\":\"Point\",\"coordinates\":[1,2,3,4]}",
        "{\"type\":\"Point\",\"coordinates\":[1,\"2\"]}", "{\"type\":\"Point\",\"coordinates\":[[1,2]]}",
        "{\"type\":\"Circle\",\"coordinates\":[1,2]}", "{\"type\":1,\"coordinates\":[1,2]}",
        "{\"type\":\"LineString\",\"coordinates\":[[1,2]]}",
        "{\"type\":\"LineString\",\"coordinates\":[1,2]}", "{\"type\":\"Polygon\",\"coordinates\":[]}",
        "{\"type\":\"Polygon\",\"coordinates\":[[]]}",
        "{\"type\":\"Polygon\",\"coordinates\":[[[0,0],[1,0],[1,1],[0,0]],[[0,0],[1,0],[1,1],[0,0]]]}",
        "{\"type\":\"Point\",\"coordinates\":[0,90.5]}"};
    struct arena *arena = arena_create(NULL, "test", 1 << 20);
    struct geo geo;

    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_non_null(geo_read_text(slice_cstr(texts[i]), arena, &geo));
    for (unsigned i = 0; i < sizeof(records) / sizeof(records[0]); i++)
        assert_non_null(geo_read_json(slice_cstr(records[i]), arena, &geo));
    assert_null(geo_read_json(SLICE_LIT("{\"coordinates\":[1,2,3],\"type\":\"Point\"}"), arena, &geo));
    assert_int_equal(geo.kind, GEO_POINT);
    arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distance), cmocka_unit_test(test_within),
        cmocka_unit_test(test_overlaps), cmocka_unit_test(test_intersects),
        cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
