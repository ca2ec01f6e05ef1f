"""What observations and actions look like: everything that a network must know of a dataset before it sees one."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """Sizes of each modality, and of an action. A modality that is not there is None."""

    image: tuple[int, int, int] | None = None
    """Channels, height, width."""
    state: int | None = None
    """Numbers in the state vector."""
    lidar: tuple[int, int] | None = None
    """Beams, and numbers per beam."""
    action: int = 1

    def __post_init__(self) -> None:
        if not self.modalities:
            raise ValueError("shapes: expected at least one modality, got none")

    @property
    def modalities(self) -> tuple[str, ...]:
        """The ones that are there, in the order in which features are joined."""
        return tuple(name for name in ("image", "state", "lidar") if getattr(self, name) is not None)

    def size(self, modality: str) -> tuple[int, ...]:
        """Of one observation of a modality that is there."""
        size = getattr(self, modality)
        return (size,) if isinstance(size, int) else size
