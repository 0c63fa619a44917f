"""A route that the tests of navigation work by hand."""

from svdrift.tasks.navigation.routes import Route, Step

ROUTE = Route(
    headings=(180, 90, 135),
    turns=("left", "slightly-right"),
    blocks=(2, 1),
    landmarks=("bakery right", "bank left"),
    kept_points=(1, 0),
)
AT_THE_CROSSING = Step(ROUTE, 2, "absolute", "both")  # turn southeast, which is slightly right
AT_THE_END = Step(ROUTE, 3, "absolute", "both")
