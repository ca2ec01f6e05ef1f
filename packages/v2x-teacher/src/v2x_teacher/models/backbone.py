"""What every backbone does: pictures and a prompt become tokens, in two halves of which either can be trained alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from drivelab_shared.networks import weights_hash

Views = Literal["separate", "joined"]
Inputs = dict[str, Tensor]
"""What `prepare` makes and `forward` reads; every tensor starts with the batch dimension."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """What a backbone says about a batch of pairs."""

    image_tokens: Float[Tensor, "batch tokens width"]
    """Group by group: the vehicle's camera first, then the infrastructure's, or one group for both (`joined`)."""
    tokens: Float[Tensor, "batch length width"]
    """What the encoder makes of pictures and text; without text, the image tokens."""
    mask: Bool[Tensor, "batch length"]
    """False on padding."""
    decoder: Float[Tensor, "batch width"]
    """The last decoder token; of models without a decoder, the last token that is not padding."""


class Backbone(nn.Module):
    """Pictures and a prompt to tokens.

    A backbone without text is one whose `see` is all there is. One with text overrides `language` and
    `language_modules` as well.

    Args:
        kind: as in the settings.
        width: of a token.
        views: `separate` gives each camera tokens of its own; `joined` puts the pictures side by side into one.
        height: of one camera's picture in pixels.
        picture_width: of one camera's picture in pixels.
        mean: subtracted from pixel values 0 to 255, per channel.
        std: divides them afterwards.
    """

    can_split = True
    """Whether `image_tokens` and `language` can be called one after the other, with a cache between them."""

    def __init__(
        self,
        kind: str,
        width: int,
        *,
        views: Views,
        height: int,
        picture_width: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.kind, self.width, self.views = kind, width, views
        self.height, self.picture_width = height, picture_width
        self.mean, self.std = tuple(mean), tuple(std)

    def see(self, pictures: Float[Tensor, "pictures 3 height width"]) -> Float[Tensor, "pictures tokens features"]:
        """Tokens of each picture by itself. The vision half."""
        raise NotImplementedError

    def num_tokens(self, height: int, width: int) -> int:
        """How many tokens `see` makes of a picture of this size in pixels."""
        raise NotImplementedError

    @property
    def vision_modules(self) -> list[nn.Module]:
        """What `see` consists of."""
        return [self]

    @property
    def language_modules(self) -> list[nn.Module]:
        """What reads image tokens and text; empty without text."""
        return []

    def language(self, image_tokens: Float[Tensor, "batch tokens width"], inputs: Inputs) -> Encoded:
        """What the language half makes of image tokens, computed just now or long ago. Pixel values are not read."""
        mask = torch.ones(image_tokens.shape[:2], dtype=torch.bool, device=image_tokens.device)
        return Encoded(image_tokens, image_tokens, mask, image_tokens[:, -1])

    def image_tokens(self, inputs: Inputs) -> Float[Tensor, "batch tokens width"]:
        """Tokens of all pictures of each sample, one group after the other."""
        pictures = inputs["pixel_values"]
        tokens = self.see(pictures.flatten(0, 1))
        return tokens.unflatten(0, pictures.shape[:2]).flatten(1, 2)

    def forward(self, inputs: Inputs) -> Encoded:
        """Both halves."""
        return self.language(self.image_tokens(inputs), inputs)

    def prepare(
        self, views: UInt8[Tensor, "batch cameras height width 3"] | np.ndarray, prompts: Sequence[str]
    ) -> Inputs:
        """Pixel values [batch, groups, 3, height, width], on the pictures' device. Nothing is learnt or drawn here.

        Raises:
            ValueError: pictures of another size, or not one prompt per pair.
        """
        pictures = self.grouped(views, prompts)
        mean, std = (pictures.new_tensor(values, dtype=torch.float32) for values in (self.mean, self.std))
        normalised = (pictures.float() - mean) / std
        return {"pixel_values": normalised.permute(0, 1, 4, 2, 3)}

    def grouped(
        self, views: UInt8[Tensor, "batch cameras height width 3"] | np.ndarray, prompts: Sequence[str]
    ) -> UInt8[Tensor, "batch groups height group_width 3"]:
        """The pictures as a tensor, side by side in one where the views are joined.

        Raises:
            ValueError: pictures of another size, or not one prompt per pair.
        """
        pictures = views if isinstance(views, Tensor) else torch.from_numpy(np.array(views))
        expected = (self.height, self.picture_width, 3)
        if pictures.ndim != 5 or pictures.shape[2:] != expected or pictures.dtype != torch.uint8:
            found = f"{pictures.dtype} {list(pictures.shape)}"
            raise ValueError(f"views: expected uint8 [batch, cameras, {', '.join(map(str, expected))}], got {found}")
        if len(prompts) != len(pictures):
            raise ValueError(f"prompts: expected {len(pictures)}, one per pair, got {len(prompts)}")
        return torch.cat(pictures.unbind(1), dim=2)[:, None] if self.views == "joined" else pictures

    def num_groups(self, cameras: int) -> int:
        """Groups of image tokens: one per camera, or one in all."""
        return 1 if self.views == "joined" else cameras

    def num_image_tokens(self, cameras: int) -> int:
        """Image tokens of a sample."""
        groups = self.num_groups(cameras)
        return groups * self.num_tokens(self.height, self.picture_width * (cameras // groups))

    def vision_parameters(self) -> list[str]:
        """Names of the vision half's parameters."""
        return self._names(self.vision_modules)

    def language_parameters(self) -> list[str]:
        """Names of the language half's parameters."""
        return self._names(self.language_modules)

    def _names(self, modules: Sequence[nn.Module]) -> list[str]:
        wanted = {id(parameter) for module in modules for parameter in module.parameters()}
        return [name for name, parameter in self.named_parameters() if id(parameter) in wanted]

    def describe_vision(self) -> dict[str, Any]:
        """Everything that image tokens depend on besides the pictures. JSON can hold it."""
        return {
            "kind": self.kind,
            "views": self.views,
            "size_px": [self.height, self.picture_width],
            "mean": list(self.mean),
            "std": list(self.std),
            "vision_weights": [weights_hash(module) for module in self.vision_modules],
            "vision_mode": mode_of(self.vision_modules),
        }

    def describe(self) -> dict[str, Any]:
        """Everything that the output depends on besides pictures and prompts. JSON can hold it."""
        return self.describe_vision() | {
            "language_weights": [weights_hash(module) for module in self.language_modules],
            "language_mode": mode_of(self.language_modules),
        }


def mode_of(modules: Sequence[nn.Module]) -> str:
    """`train` where anything in them may draw dropout, else `eval`. The features of one are not those of the other."""
    return "train" if any(part.training for module in modules for part in module.modules()) else "eval"
