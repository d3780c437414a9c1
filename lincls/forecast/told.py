"""What a forecast says, in numbers and in sentences."""

from dataclasses import dataclass

_UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Forecast:
    """What a run will take.  `str` of it is two or three sentences.

    Attributes:
        task: what runs, in words.
        route: which search runs (`knn.route`), or "" for a training.
        num_devices: devices that share the work.
        data: bytes of rows, labels and weights on each device.
        state: bytes on each device of what belongs to them: parameters and the optimiser's state
            before and after a chunk, or what a search remembers of its rows.
        work: bytes of intermediate results on each device.
        held: bytes of these that are allocated already.
        room: bytes that each device may still allocate, or None where nothing says it.
        operations: multiplications and additions of all devices together.
        seconds: time of the run without compilation.
        at_most: whether the run can be shorter, because a search skips what bounds rule out.
        advice: what to do where memory is too little.
    """

    task: str
    route: str
    num_devices: int
    data: int
    state: int
    work: int
    held: int
    room: int | None
    operations: int
    seconds: float
    at_most: bool
    advice: str

    @property
    def needed(self) -> int:
        """Bytes that each device must still allocate."""
        return self.data + self.state + self.work - self.held

    @property
    def fits(self) -> bool:
        """Whether they are there; True where nothing says how many are."""
        return self.room is None or self.needed <= self.room

    def __str__(self) -> str:
        each = "" if self.num_devices == 1 else f" on each of {self.num_devices} devices"
        route = f"Route {self.route}: " if self.route else ""
        took = f"{route}{'at most ' if self.at_most else ''}{duration(self.seconds)}"
        parts = f"data {size(self.data)}, state {size(self.state)}"
        told = [
            f"{self.task}. {took} without compilation.",
            f"Memory{each}: {size(self.needed)} more ({parts}, intermediate results "
            f"{size(self.work)}){self._of_room()}.",
        ]
        return " ".join(told if self.fits else [*told, self.advice])

    def _of_room(self) -> str:
        if self.room is None:
            return ""
        return f", and {size(self.room)} are free" + ("" if self.fits else ", which is too little")


def size(num_bytes: int) -> str:
    """Bytes as one reads them, in three digits: 650 B, 2.5 kB, 154 MB."""
    number, place = float(num_bytes), 0
    while number >= 999.5 and place < len(_UNITS) - 1:
        number, place = number / 1000, place + 1
    return f"{number:.3g} {_UNITS[place]}"


def duration(seconds: float) -> str:
    """Seconds as one reads them, in two digits: 0.13 s, 42 s, 3.5 min, 2.1 h."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{float(f'{seconds / length:.2g}'):g} {unit}"
    return f"{float(f'{seconds:.2g}'):g} s"
