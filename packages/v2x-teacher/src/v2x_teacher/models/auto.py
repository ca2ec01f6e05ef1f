"""Any other model that transformers' Auto classes can load from a local folder: vision-language, or vision alone.

Two kinds are enough. A model whose config names an image token is a decoder that reads pictures and text: its processor
prepares both, and its last hidden states with their attention mask are the tokens. Of any other model the vision
encoder is used: CLIP, SigLIP, ViT, DINO and their like.
"""

import hashlib
import inspect
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from transformers import AutoModel, AutoProcessor

from drivelab_shared.errors import UserError
from v2x_teacher.models.backbone import Backbone, Encoded, Inputs, Views
from v2x_teacher.models.local_folder import load_model, pixel_statistics, read_config, require_files

VISION_FILES = (
    "config.json",
    "model.safetensors (or its parts and model.safetensors.index.json)",
    "preprocessor_config.json (or processor_config.json)",
)
TEXT_FILES = ("tokenizer.json (or tokenizer_config.json)",)
WHERE_FROM = "a vision or vision-language model in the format of transformers"
DESCRIPTIONS = (".json", ".jinja", ".txt", ".model")
"""Endings of the small files that decide how pictures and prompts are prepared."""


class AutoVision(Backbone):
    """The vision encoder of a model, at any size of picture that it can stretch its positions to.

    Args:
        encoder: answers to `pixel_values` with a `last_hidden_state`: tokens, or a feature map.
        mean: of pixel values 0 to 255, per channel.
        std: of pixel values 0 to 255, per channel.
        views: see Backbone.
        height: see Backbone.
        picture_width: see Backbone.

    Raises:
        UserError: the encoder cannot read pictures of this size.
    """

    def __init__(
        self,
        encoder: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        views: Views,
        height: int,
        picture_width: int,
    ) -> None:
        super().__init__("auto", 0, views=views, height=height, picture_width=picture_width, mean=mean, std=std)
        self.encoder = encoder
        accepted = inspect.signature(encoder.forward).parameters
        self._options = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in accepted else {}
        self._probed = lru_cache(self._probe)
        self.width = self._probed(height, picture_width)[1]

    def see(self, pictures: Float[Tensor, "pictures 3 height width"]) -> Float[Tensor, "pictures tokens features"]:
        """All tokens, a class token included where the model has one; of a feature map its places, row by row."""
        states = self.encoder(pixel_values=pictures, **self._options).last_hidden_state
        return states.flatten(2).transpose(1, 2) if states.ndim == 4 else states

    def num_tokens(self, height: int, width: int) -> int:
        """Found by trying."""
        return self._probed(height, width)[0]

    @torch.no_grad()
    def _probe(self, height: int, width: int) -> tuple[int, int]:
        device = next(self.parameters()).device
        try:
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                tokens = self.see(torch.zeros(1, 3, height, width, device=device))
        except (ValueError, RuntimeError, AttributeError, TypeError) as problem:
            reason = " ".join(str(problem).split())
            raise UserError(
                f"backbone.path: expected a model that reads pictures of {height} x {width}, got: {reason:.300}"
            ) from problem
        return tokens.shape[1], tokens.shape[2]

    def describe_vision(self) -> dict[str, Any]:
        """As in Backbone, and whose code ran."""
        return super().describe_vision() | {"transformers": transformers.__version__}


class AutoVisionLanguage(Backbone):
    """A decoder that reads pictures and text: its last hidden states, and among them those at the image tokens.

    Pictures and prompts are prepared by the model's own processor, in the form of its chat template where it has one.
    It resizes pictures as the model wants them, so height and width matter only as the size they arrive in.

    Args:
        model: with a `last_hidden_state`.
        processor: of the model.
        files: hashes of the small files of the folder, by name.
        views: see Backbone.
        height: see Backbone.
        picture_width: see Backbone.
    """

    can_split = False

    def __init__(
        self,
        model: nn.Module,
        processor: Any,
        files: dict[str, str],
        *,
        views: Views,
        height: int,
        picture_width: int,
    ) -> None:
        no_change = {"mean": (0.0,) * 3, "std": (1.0,) * 3}  # normalising is the processor's affair
        width = model.config.get_text_config().hidden_size
        super().__init__("auto", width, views=views, height=height, picture_width=picture_width, **no_change)
        self.model = model
        self.processor = processor
        self.image_token_id = model.config.image_token_id
        self.files = files
        self._num_image_tokens = lru_cache(self._count_image_tokens)
        processor.tokenizer.padding_side = "right"
        if processor.tokenizer.pad_token is None:
            processor.tokenizer.pad_token = processor.tokenizer.eos_token

    @property
    def language_modules(self) -> list[nn.Module]:
        """The decoder."""
        return [self.model.get_decoder()]

    @property
    def vision_modules(self) -> list[nn.Module]:
        """Everything beside the decoder: vision encoder and connector."""
        return [part for part in self.model.children() if part is not self.model.get_decoder()]

    def num_image_tokens(self, cameras: int) -> int:
        """Found by preparing grey pictures."""
        return self._num_image_tokens(cameras)

    def _count_image_tokens(self, cameras: int) -> int:
        grey = torch.full((1, cameras, self.height, self.picture_width, 3), 127, dtype=torch.uint8)
        return int((self.prepare(grey, [""])["input_ids"] == self.image_token_id).sum())

    def prepare(
        self, views: UInt8[Tensor, "batch cameras height width 3"] | np.ndarray, prompts: Sequence[str]
    ) -> Inputs:
        """What the processor makes of them, on the pictures' device.

        Raises:
            ValueError: pictures of another size, or not one prompt per pair.
        """
        pictures = self.grouped(views, prompts)
        texts = [self._text(prompt, pictures.shape[1]) for prompt in prompts]
        images = [list(pair) for pair in pictures.cpu().numpy()]
        inputs = self.processor(text=texts, images=images, padding=True, return_tensors="pt")
        return {name: value.to(pictures.device) for name, value in inputs.items()}

    def _text(self, prompt: str, num_pictures: int) -> str:
        if self.processor.chat_template is None:
            return self.processor.image_token * num_pictures + prompt
        content = [*[{"type": "image"}] * num_pictures, {"type": "text", "text": prompt}]
        return self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)

    def forward(self, inputs: Inputs) -> Encoded:
        """Last hidden states. The decoder reads from left to right, so image tokens know nothing of a later prompt."""
        tokens = self.model(**inputs, use_cache=False).last_hidden_state
        mask = inputs["attention_mask"].bool()
        is_image = inputs["input_ids"] == self.image_token_id
        image_tokens = tokens[is_image].unflatten(0, (len(tokens), -1))
        place = torch.arange(mask.shape[1], device=mask.device)
        last = (mask * place).argmax(1)
        return Encoded(image_tokens, tokens, mask, tokens[torch.arange(len(tokens), device=mask.device), last])

    def describe(self) -> dict[str, Any]:
        """As in Backbone, whose code ran, and the files that the processor was made from."""
        return super().describe() | {"transformers": transformers.__version__, "files": self.files}


def load_auto(folder: Path | None, *, views: Views, height: int, picture_width: int) -> Backbone:
    """A model from a local folder, in eval mode. Nothing is downloaded and no code from the folder runs.

    Raises:
        UserError: the folder or a file is missing, or the model cannot be loaded or read such pictures.
    """
    size = {"views": views, "height": height, "picture_width": picture_width}
    require_files(folder, VISION_FILES, WHERE_FROM)
    config = read_config(folder / "config.json")
    if not config.keys() & {"image_token_id", "image_token_index"}:
        mean, std = pixel_statistics(folder)
        encoder = load_model(AutoModel, folder).get_encoder(modality="image")
        return AutoVision(encoder, mean=mean, std=std, **size).eval()
    require_files(folder, (*VISION_FILES, *TEXT_FILES), WHERE_FROM)
    model, processor = load_model(AutoModel, folder), _load_processor(folder)
    return AutoVisionLanguage(model, processor, _file_hashes(folder), **size).eval()


def _load_processor(folder: Path) -> Any:
    try:
        return AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as problem:
        reason = " ".join(str(problem).split())
        raise UserError(f"{folder}: expected a processor that transformers can load, got: {reason:.300}") from problem


def _file_hashes(folder: Path) -> dict[str, str]:
    small = sorted(path for path in folder.iterdir() if path.suffix in DESCRIPTIONS and path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in small}
