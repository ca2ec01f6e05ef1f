import json

import pytest
import torch
from transformers import (
    AutoModel,
    CLIPConfig,
    ConvNextConfig,
    Dinov2Config,
    Idefics3Config,
    Idefics3Processor,
    LlavaConfig,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    SiglipConfig,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from drivelab_shared.errors import UserError
from v2x_teacher.models.auto import load_auto
from v2x_teacher.models.backbone import mode_of
from v2x_teacher.models.pooling import pool
from v2x_teacher.models.tiny_florence import save_tiny_florence

torch.set_num_threads(1)

SIZE = {"height": 64, "picture_width": 128}
PROMPTS = ["Turn left.", "Predict the path of the vehicle.", "Stop"]
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
}
TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
SMALL_TEXT = {**TEXT, "vocab_size": 64, "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1}
CHAT = (
    "{% for message in messages %}<s>{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}</s>{% endfor %}"
)


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tiny_florence(folder, 0)
    return folder


def a_tokenizer(folder, *more):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.add_tokens(list(more), special_tokens=True)
    return tokenizer


def save(folder, config, *processors):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(folder)
    for processor in processors:
        processor.save_pretrained(folder)
    return folder


def save_llava(folder, tokenizer_folder):
    tokenizer = a_tokenizer(tokenizer_folder)
    text = {**TEXT, "model_type": "llama", "vocab_size": len(tokenizer)}
    config = LlavaConfig(
        vision_config={**VISION, "model_type": "clip_vision_model"},
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )
    pictures = CLIPImageProcessorPil(size={"height": 32, "width": 32}, crop_size=32)
    layout = {"patch_size": 16, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return save(folder, config, LlavaProcessor(pictures, tokenizer, **layout))


def save_idefics(folder, tokenizer_folder):
    places = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = a_tokenizer(
        tokenizer_folder, "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *places
    )
    text = {**TEXT, "model_type": "llama", "vocab_size": len(tokenizer), "pad_token_id": 1}
    config = Idefics3Config(
        vision_config=VISION,
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=1,
    )
    pictures = Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    return save(folder, config, Idefics3Processor(pictures, tokenizer, image_seq_len=4, chat_template=CHAT))


VISION_MODELS = {
    # (model, tokens of a 64 x 128 picture in patches of 16): with a class token where the model has one.
    "clip": (CLIPConfig(vision_config=VISION, text_config=SMALL_TEXT, projection_dim=16), 33),
    "siglip": (SiglipConfig(vision_config=VISION, text_config=SMALL_TEXT), 32),
    "dinov2": (
        Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=16),
        33,
    ),
    "convnext": (ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1]), 8),
}
LANGUAGE_MODELS = {
    # (writer, image tokens per picture): LLaVA shrinks to 32 x 32, Idefics cuts into two tiles and adds an overview.
    "llava": (save_llava, 4),
    "idefics": (save_idefics, 12),
}


@pytest.fixture(scope="module", params=LANGUAGE_MODELS)
def language_folder(request, tmp_path_factory, tokenizer_folder):
    writer, per_picture = LANGUAGE_MODELS[request.param]
    return writer(tmp_path_factory.mktemp(request.param), tokenizer_folder), per_picture


@pytest.fixture(scope="module", params=VISION_MODELS)
def vision_folder(request, tmp_path_factory):
    config, per_picture = VISION_MODELS[request.param]
    return save(tmp_path_factory.mktemp(request.param), config, CLIPImageProcessorPil()), per_picture


def random_views(batch=3, cameras=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (batch, cameras, 64, 128, 3), dtype=torch.uint8, generator=generator)


def encoded(backbone, views, prompts):
    with torch.no_grad():
        return backbone(backbone.prepare(views, prompts))


def test_a_vision_model_gives_tokens_at_a_size_it_was_not_made_for(vision_folder):
    folder, per_picture = vision_folder
    backbone = load_auto(folder, views="separate", **SIZE)
    views = random_views()
    result = encoded(backbone, views, PROMPTS)
    assert result.image_tokens.shape == (3, 2 * per_picture, backbone.width)
    assert backbone.num_image_tokens(2) == 2 * per_picture
    assert result.mask.all()
    assert backbone.language_parameters() == []
    vehicle, infrastructure = result.image_tokens.chunk(2, dim=1)
    swapped = encoded(backbone, views.flip(1), PROMPTS).image_tokens
    torch.testing.assert_close(swapped, torch.cat([infrastructure, vehicle], 1), atol=1e-5, rtol=0)
    assert not torch.allclose(vehicle, infrastructure, atol=1e-3)


def test_pixels_are_normalised_as_the_folder_says(vision_folder):
    backbone = load_auto(vision_folder[0], views="separate", **SIZE)
    white = torch.full((1, 1, 64, 128, 3), 255, dtype=torch.uint8)
    processor = json.loads((vision_folder[0] / "preprocessor_config.json").read_text())
    found = backbone.prepare(white, [""])["pixel_values"][0, 0, :, 0, 0].tolist()
    pairs = zip(processor["image_mean"], processor["image_std"], strict=True)
    assert found == pytest.approx([(1 - mean) / std for mean, std in pairs], rel=1e-5)


def test_a_vision_language_model_gives_hidden_states_and_those_of_its_image_tokens(language_folder):
    folder, per_picture = language_folder
    backbone = load_auto(folder, views="separate", **SIZE)
    inputs = backbone.prepare(random_views(), PROMPTS)
    result = encoded(backbone, random_views(), PROMPTS)
    assert result.image_tokens.shape == (3, 2 * per_picture, 32)
    assert backbone.num_image_tokens(2) == 2 * per_picture
    assert backbone.num_image_tokens(1) == per_picture
    assert len(set(result.mask.sum(1).tolist())) == 3  # prompts of three lengths
    for index in range(3):
        length = int(result.mask[index].sum())
        assert torch.equal(result.decoder[index], result.tokens[index, length - 1])
        is_image = inputs["input_ids"][index] == backbone.model.config.image_token_id
        assert torch.equal(result.image_tokens[index], result.tokens[index][is_image])


@pytest.mark.parametrize("pooling", ["original", "fixed", "mean"])
def test_prompts_beside_it_do_not_change_a_sample(language_folder, pooling):
    backbone = load_auto(language_folder[0], views="separate", **SIZE)
    views = random_views()
    together = pool(encoded(backbone, views, PROMPTS), pooling, 2)
    alone = pool(encoded(backbone, views[2:], PROMPTS[2:]), pooling, 2)
    torch.testing.assert_close(together[2:], alone, atol=1e-4, rtol=0)


def test_the_first_group_of_image_tokens_is_the_vehicles(language_folder):
    # The decoder reads from left to right: what comes first cannot depend on what comes later.
    backbone = load_auto(language_folder[0], views="separate", **SIZE)
    views = random_views()
    changed = torch.cat([views[:, :1], 255 - views[:, 1:]], 1)
    before, after = (encoded(backbone, each, PROMPTS).image_tokens.chunk(2, dim=1) for each in (views, changed))
    torch.testing.assert_close(before[0], after[0], atol=1e-5, rtol=0)
    assert not torch.allclose(before[1], after[1], atol=1e-3)


def test_joined_views_are_one_picture_for_the_processor(language_folder):
    folder, _ = language_folder
    joined = load_auto(folder, views="joined", **SIZE)
    wide = load_auto(folder, views="separate", height=64, picture_width=256)
    views = random_views()
    canvas = torch.cat([views[:, :1], views[:, 1:]], dim=3)
    assert joined.num_groups(2) == 1
    assert torch.equal(encoded(joined, views, PROMPTS).tokens, encoded(wide, canvas, PROMPTS).tokens)


def test_halves_of_a_vision_language_model_cover_its_parameters(language_folder):
    backbone = load_auto(language_folder[0], views="separate", **SIZE)
    names = backbone.vision_parameters() + backbone.language_parameters()
    assert sorted(names) == sorted(name for name, _ in backbone.named_parameters())
    assert all("vision" in name or "connector" in name or "proj" in name for name in backbone.vision_parameters())
    assert mode_of([backbone]) == "eval"
    assert not backbone.can_split


def test_the_description_follows_the_chat_template(tmp_path, tokenizer_folder):
    folder = save_idefics(tmp_path / "model", tokenizer_folder)
    before = load_auto(folder, views="separate", **SIZE).describe()
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("<s>", "<s>Look. "))
    after = load_auto(folder, views="separate", **SIZE).describe()
    assert {name for name in before if before[name] != after[name]} == {"files"}


def refusal(folder):
    with pytest.raises(UserError) as caught:
        load_auto(folder, views="separate", **SIZE)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_model_that_needs_code_from_its_folder_is_refused(tmp_path):
    folder = save(tmp_path / "model", VISION_MODELS["convnext"][0], CLIPImageProcessorPil())
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoModel": "mine.Mine", "AutoConfig": "mine.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text("raise SystemExit('code from the folder ran')\n")
    assert "expected a model that transformers can load" in refusal(folder)


def test_a_text_model_is_no_backbone(tmp_path, tokenizer_folder):
    from transformers import LlamaConfig

    folder = save(tmp_path / "model", LlamaConfig(**TEXT, vocab_size=64), CLIPImageProcessorPil())
    assert "expected a model that reads pictures of 64 x 128" in refusal(folder)


def test_a_missing_file_is_named(tmp_path, tokenizer_folder):
    folder = save(tmp_path / "model", VISION_MODELS["convnext"][0])
    assert "missing: preprocessor_config.json" in refusal(folder)
    llava = save_llava(tmp_path / "llava", tokenizer_folder)
    (llava / "tokenizer.json").unlink()
    (llava / "tokenizer_config.json").unlink()
    assert "missing: tokenizer.json" in refusal(llava)
