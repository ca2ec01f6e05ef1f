"""Florence-2 from a local folder, and a tiny one with random weights that is made on the spot.

Source: Xiao et al. 2024 (Florence-2), in the implementation of transformers.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerBase

from drivelab_shared.errors import UserError
from drivelab_shared.networks import key_hash
from v2x_teacher.models.backbone import Backbone, Encoded, Inputs, Views
from v2x_teacher.models.local_folder import load_model, pixel_statistics, read_config, require_files

EXPECTED_FILES = (
    "config.json",
    "model.safetensors (or its parts and model.safetensors.index.json)",
    "tokenizer.json",
    "tokenizer_config.json",
    "processor_config.json (or preprocessor_config.json)",
)
WHERE_FROM = (
    "Florence-2 in the format of transformers itself, for example florence-community/Florence-2-base or "
    "florence-community/Florence-2-large"
)


class Florence(Backbone):
    """Florence-2: DaViT makes tokens of pictures, BART reads them together with the prompt.

    The tokens of each picture are the mean of all others, then one per 32 x 32 pixels, row by row. The text model reads
    the image tokens, `<s>`, the prompt and `</s>`; its decoder gets nothing but its start token. Pictures and text are
    prepared here and not by transformers' processor, which resizes to one size, needs to be told the number of image
    tokens, and takes one picture per prompt.

    Args:
        kind: `florence` or `tiny`.
        model: transformers' Florence2Model.
        tokenizer: its tokenizer.
        mean: of pixel values 0 to 255, per channel.
        std: of pixel values 0 to 255, per channel.
        views: see Backbone.
        height: see Backbone.
        picture_width: see Backbone.

    Raises:
        UserError: a picture is larger than the model's table of positions.
    """

    def __init__(
        self,
        kind: str,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        views: Views,
        height: int,
        picture_width: int,
    ) -> None:
        text = model.config.text_config
        super().__init__(
            kind, text.d_model, views=views, height=height, picture_width=picture_width, mean=mean, std=std
        )
        self.model = model
        self.tokenizer = tokenizer
        vision = model.config.vision_config
        self.stride = int(np.prod(vision.patch_stride))
        self.max_side = vision.max_position_embeddings
        self.max_length = text.max_position_embeddings
        self._token_ids = lru_cache(maxsize=4096)(self._tokenised)  # most pairs share one prompt
        for setting, side, cameras in (("height", height, 1), ("width", picture_width, 1 + (views == "joined"))):
            if side * cameras > self.max_side * self.stride:
                limit = self.max_side * self.stride // cameras
                raise UserError(
                    f"backbone.{setting}: expected at most {limit} pixels (views: {views}), because the model has "
                    f"positions for {self.max_side} patches on a side, got {side}"
                )

    @property
    def vision_modules(self) -> list[nn.Module]:
        """DaViT and the projection of its features into the text model's space."""
        return [self.model.vision_tower, self.model.multi_modal_projector]

    @property
    def language_modules(self) -> list[nn.Module]:
        """BART."""
        return [self.model.language_model]

    def see(self, pictures: Float[Tensor, "pictures 3 height width"]) -> Float[Tensor, "pictures tokens features"]:
        """Projected tokens of each picture. The model's output has a field for them too, which is always None."""
        return self.model.get_image_features(pictures).pooler_output

    def num_tokens(self, height: int, width: int) -> int:
        """One per patch, and their mean."""
        return 1 + (height // self.stride) * (width // self.stride)

    def prepare(
        self, views: UInt8[Tensor, "batch cameras height width 3"] | np.ndarray, prompts: Sequence[str]
    ) -> Inputs:
        """Pixel values as in Backbone, and token ids [batch, length] with their mask.

        Raises:
            UserError: image and text tokens together are more than the text model has positions for.
            ValueError: pictures of another size, or not one prompt per pair.
        """
        inputs = super().prepare(views, prompts)
        device = inputs["pixel_values"].device
        texts = [self._token_ids(prompt) for prompt in prompts]
        length = max(map(len, texts))
        num_image_tokens = self.num_image_tokens(views.shape[1])
        if num_image_tokens + length > self.max_length:
            raise UserError(
                f"backbone: expected at most {self.max_length} tokens, got {num_image_tokens} of the pictures "
                f"({self.height} x {self.picture_width}, views: {self.views}) and {length} of the longest prompt; "
                "smaller pictures or a shorter prompt fit"
            )
        padded = [text + (self.tokenizer.pad_token_id,) * (length - len(text)) for text in texts]
        lengths = torch.tensor([len(text) for text in texts], device=device)
        return inputs | {
            "input_ids": torch.tensor(padded, device=device),
            "text_mask": torch.arange(length, device=device) < lengths[:, None],
        }

    def _tokenised(self, prompt: str) -> tuple[int, ...]:
        tokens = self.tokenizer(prompt, add_special_tokens=False).input_ids
        return (self.tokenizer.bos_token_id, *tokens, self.tokenizer.eos_token_id)

    def language(self, image_tokens: Float[Tensor, "batch tokens width"], inputs: Inputs) -> Encoded:
        """The text model on image tokens and prompt."""
        text = self.model.get_input_embeddings()(inputs["input_ids"])
        is_picture = torch.ones(image_tokens.shape[:2], dtype=torch.bool, device=image_tokens.device)
        mask = torch.cat([is_picture, inputs["text_mask"]], dim=1)
        output = self.model(
            inputs_embeds=torch.cat([image_tokens.to(text), text], dim=1), attention_mask=mask.long(), use_cache=False
        )
        return Encoded(image_tokens, output.encoder_last_hidden_state, mask, output.last_hidden_state[:, -1])

    def describe_vision(self) -> dict[str, Any]:
        """As in Backbone, and whose code ran."""
        return super().describe_vision() | {"transformers": transformers.__version__}

    def describe(self) -> dict[str, Any]:
        """As in Backbone, and how prompts become numbers."""
        return super().describe() | {"tokenizer": key_hash({"json": self.tokenizer.backend_tokenizer.to_str()})}


def load_florence(folder: Path | None, *, views: Views, height: int, picture_width: int) -> Florence:
    """Florence-2 from a local folder, in eval mode. Nothing is downloaded and no code from the folder runs.

    Raises:
        UserError: the folder or a file is missing, it holds another model or one in Microsoft's older format, or the
            pictures are too large.
    """
    if folder is not None and (folder / "config.json").is_file():  # the older format lacks some of the files as well
        _require_native(folder, read_config(folder / "config.json"))
    require_files(folder, EXPECTED_FILES, WHERE_FROM)
    model = load_model(AutoModel, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    mean, std = pixel_statistics(folder)
    size = {"views": views, "height": height, "picture_width": picture_width}
    return Florence("florence", model, tokenizer, mean=mean, std=std, **size).eval()


def _require_native(folder: Path, config: dict[str, Any]) -> None:
    text_config = config.get("text_config")
    text_type = text_config.get("model_type") if isinstance(text_config, dict) else None
    if config.get("model_type") != "florence2":
        raise UserError(
            f"{folder / 'config.json'}: model_type: expected 'florence2', got {config.get('model_type')!r}; "
            "backbone.kind auto reads other models"
        )
    if text_type == "florence2_language" or "auto_map" in config:
        raise UserError(
            f"{folder}: expected {WHERE_FROM}; got the older format of microsoft/Florence-2, which needs code from "
            "the folder itself (trust_remote_code) and an older transformers"
        )
