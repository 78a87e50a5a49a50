"""The graph of a plan as SVG: layers from left to right, what needs nothing first.

A node's layer is one past the last of what it needs. An edge that another path implies is left
out; one that skips layers passes between their nodes. Within a layer, nodes are near what they
are connected to.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import field
from typing import TYPE_CHECKING

from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_NODES = 200
"""More are no picture; drawing them takes seconds."""
LONGEST_NAME = 28
"""Characters of a name in the picture."""
_CHARACTER, _PADDING, _HEIGHT, _GAP, _BETWEEN, _MARGIN = 7.3, 30.0, 28.0, 12.0, 56.0, 8.0
_SWEEPS = 6


@dataclass(frozen=True)
class Box:
    """A node and where it is drawn."""

    node_id: str
    name: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Graph:
    """A picture: its size, its boxes, and its edges as the paths of SVG."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    edges: tuple[tuple[str, str, str], ...]
    """From which node to which, and the path."""


def draw(names: Mapping[str, str], needs: Mapping[str, Sequence[str]]) -> Graph:
    """The picture of a graph without circles: `names` of all nodes, and what each needs."""
    layout = _Layout(names, _without_implied({node: [*needs.get(node, ())] for node in names}))
    return layout.graph()


def _without_implied(needs: dict[str, list[str]]) -> dict[str, list[str]]:
    """The edges, but for those that a longer path implies."""
    reached: dict[str, set[str]] = {}

    def reach(node: str) -> set[str]:
        if node not in reached:
            reached[node] = set()
            for other in needs[node]:
                reached[node] |= {other} | reach(other)
        return reached[node]

    return {
        node: [each for each in found if not any(each in reach(other) for other in found)]
        for node, found in needs.items()
    }


@dataclass
class _Layout:
    names: Mapping[str, str]
    needs: dict[str, list[str]]
    _depths: dict[str, int] = field(default_factory=dict)
    _next: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _before: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def graph(self) -> Graph:
        layers = self._layers()
        for sweep in range(_SWEEPS):
            around = self._before if sweep % 2 == 0 else self._next
            ordered = range(1, len(layers)) if sweep % 2 == 0 else range(len(layers) - 2, -1, -1)
            for number in ordered:
                neighbour = layers[number - 1 if sweep % 2 == 0 else number + 1]
                _sort(layers[number], neighbour, around)
        return self._placed(layers)

    def _depth(self, node: str) -> int:
        if node not in self._depths:
            self._depths[node] = 1 + max(map(self._depth, self.needs[node]), default=-1)
        return self._depths[node]

    def _layers(self) -> list[list[str]]:
        """The nodes by depth; where an edge skips a layer it has a place of its own there."""
        layers: dict[int, list[str]] = defaultdict(list)
        for node in self.names:
            layers[self._depth(node)].append(node)
        for node in self.names:
            for needed in self.needs[node]:
                last = needed
                for depth in range(self._depth(needed) + 1, self._depth(node)):
                    place = f"{needed} {node} {depth}"
                    layers[depth].append(place)
                    self._connect(last, place)
                    last = place
                self._connect(last, node)
        return [layers[depth] for depth in range(len(layers))]

    def _connect(self, left: str, right: str) -> None:
        self._next[left].append(right)
        self._before[right].append(left)

    def _placed(self, layers: list[list[str]]) -> Graph:
        tallest = max((self._tall(layer) for layer in layers), default=0.0)
        height = tallest + 2 * _MARGIN
        boxes: dict[str, Box] = {}
        x = _MARGIN
        for layer in layers:
            shown = {node: _short(self.names[node]) for node in layer if node in self.names}
            width = max(map(len, shown.values()), default=0) * _CHARACTER + _PADDING
            y = (height - self._tall(layer)) / 2
            for node in layer:
                tall = _HEIGHT if node in self.names else 0.0
                boxes[node] = Box(node, shown.get(node, ""), x, y, round(width, 1), tall)
                y += tall + _GAP
            x += width + _BETWEEN
        edges = tuple(
            self._edge(boxes, start, end) for end in self.names for start in self.needs[end]
        )
        drawn = tuple(box for node, box in boxes.items() if node in self.names)
        return Graph(round(x - _BETWEEN + _MARGIN, 1), height, drawn, edges)

    def _tall(self, layer: Sequence[str]) -> float:
        return sum(_HEIGHT for node in layer if node in self.names) + _GAP * (len(layer) - 1)

    def _edge(self, boxes: Mapping[str, Box], start: str, end: str) -> tuple[str, str, str]:
        between = range(self._depth(start) + 1, self._depth(end))
        stops = [boxes[start], *(boxes[f"{start} {end} {depth}"] for depth in between), boxes[end]]
        left = stops[0]
        x, y = left.x + left.width, left.y + left.height / 2
        said = [f"M{x:.0f} {y:.0f}"]
        for stop in stops[1:]:
            to_y, bend = stop.y + stop.height / 2, (stop.x - x) / 2
            said.append(
                f"C{x + bend:.0f} {y:.0f} {x + bend:.0f} {to_y:.0f} {stop.x:.0f} {to_y:.0f}"
            )
            x, y = stop.x, to_y
            if stop.node_id != end:
                x += stop.width
                said.append(f"H{x:.0f}")
        return start, end, "".join(said)


def _sort(layer: list[str], neighbour: Sequence[str], around: Mapping[str, Sequence[str]]) -> None:
    """Bring each node of a layer to the mean place of what it is connected to next door."""
    places = {node: place for place, node in enumerate(neighbour)}
    means = {}
    for own, node in enumerate(layer):
        found = [places[other] for other in around[node] if other in places]
        means[node] = sum(found) / len(found) if found else float(own)
    layer.sort(key=lambda node: means[node])


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
