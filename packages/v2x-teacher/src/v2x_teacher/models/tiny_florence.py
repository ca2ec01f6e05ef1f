"""A Florence-2 of 1.8 M parameters with random weights and a tokenizer made on the spot: the real code, offline.

Dropout and stochastic depth stay at the 0.1 of the real models, so that whatever goes wrong with a frozen backbone in
train mode goes wrong here too.
"""

import json
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    BartConfig,
    BartTokenizer,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.florence2.configuration_florence2 import Florence2VisionConfig

from v2x_teacher.config import PROMPT
from v2x_teacher.models.backbone import Views
from v2x_teacher.models.florence import Florence
from v2x_teacher.models.local_folder import IMAGENET_MEAN, IMAGENET_STD

SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
MAX_VOCABULARY = 360
WIDTH = 128
PROMPTS = (
    PROMPT,
    "The vehicle drives straight on, turns left, turns right, slows down or stops at the traffic light.",
    "The first picture is from the vehicle, the second from the camera at the infrastructure of the intersection.",
)
"""What the tokenizer learns its vocabulary from. Any other text works as well, in more tokens."""


def tiny_florence(seed: int, *, views: Views, height: int, picture_width: int) -> Florence:
    """The tiny model in eval mode. Its weights are a function of the seed; torch's generator is left as it was."""
    tokenizer = _tokenizer()
    mean, std = ([255 * value for value in values] for values in (IMAGENET_MEAN, IMAGENET_STD))
    size = {"views": views, "height": height, "picture_width": picture_width}
    return Florence("tiny", _model(tokenizer, seed).model, tokenizer, mean=mean, std=std, **size).eval()


def save_tiny_florence(folder: Path, seed: int) -> None:
    """Write the tiny model as a folder in the format of the real ones."""
    tokenizer = _tokenizer()
    _model(tokenizer, seed).save_pretrained(folder)
    pictures = CLIPImageProcessorPil(
        image_mean=list(IMAGENET_MEAN),
        image_std=list(IMAGENET_STD),
        size={"height": 64, "width": 128},
        do_center_crop=False,
    )
    pictures.image_seq_length = 9
    Florence2Processor(pictures, tokenizer).save_pretrained(folder)


def _model(tokenizer: BartTokenizer, seed: int) -> Florence2ForConditionalGeneration:
    vision = Florence2VisionConfig(
        embed_dim=[32, 64, 96, 128],
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 3, 4],
        num_groups=[1, 2, 3, 4],
        window_size=7,
        projection_dim=WIDTH,
    )
    text = BartConfig(
        vocab_size=len(tokenizer),
        d_model=WIDTH,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=256,
        decoder_ffn_dim=256,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
        forced_eos_token_id=None,
    )
    config = Florence2Config(
        vision_config=vision.to_dict(), text_config=text.to_dict(), image_token_id=tokenizer.image_token_id
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Florence2ForConditionalGeneration(config)


def _tokenizer() -> BartTokenizer:
    """Byte pairs learnt from the package's own prompts; the image token comes last."""
    learner = ByteLevelBPETokenizer()
    learner.train_from_iterator(
        PROMPTS, vocab_size=MAX_VOCABULARY - 1, special_tokens=SPECIAL_TOKENS, show_progress=False
    )
    learnt = json.loads(learner.to_str())["model"]
    return BartTokenizer(
        vocab=learnt["vocab"],
        merges=[tuple(merge) for merge in learnt["merges"]],
        extra_special_tokens={"image_token": "<image>"},
    )
