"""The canvas model: exact against diffusers' own forward, its video attention against one written out here."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from personalive_core.backends.svdp.canvas import join_tokens, split_tokens
from personalive_core.backends.svdp.check import (
    PROOF_SIZES,
    proof_clip,
    proof_model,
    prove,
    prove_keys,
    with_random_output,
)
from personalive_core.backends.svdp.model import frame_timesteps, run_transformer
from personalive_core.backends.svdp.networks import build_canvas
from personalive_core.backends.svdp.types import ClipConditions, ClipHistory
from personalive_core.backends.svdp.video_attention import VideoAttention, clip_times
from personalive_core.errors import InputError

TIMESTEP = torch.tensor([700.0, 250.0])


@pytest.fixture(scope="module")
def fresh():
    """A model whose video attention is at its start."""
    return proof_model(PROOF_SIZES)


@pytest.fixture(scope="module")
def trained():
    """A model whose video attention does something."""
    return with_random_output(proof_model(PROOF_SIZES))


@pytest.fixture(scope="module")
def clip():
    return proof_clip(PROOF_SIZES)


def wide_canvas(noisy, conditions):
    """[source | noise | driving], history's three frames first; written out once more."""
    frames = []
    for clip in range(len(noisy)):
        middles = [*conditions.history.latents[clip], *noisy[clip]]
        rights = [*conditions.history.driving[clip], *conditions.driving[clip]]
        frames += [torch.cat([conditions.source[clip], *pair], -1) for pair in zip(middles, rights, strict=True)]
    return torch.stack(frames)


@pytest.mark.parametrize("seed", [0, 1])
def test_all_that_is_proved_holds(seed):
    proofs = prove(seed)
    assert [proof.name for proof in proofs if not proof.holds] == []
    assert len(proofs) == 6


def test_keys_of_other_sizes_are_told_as_exactly():
    assert all(proof.holds for proof in prove_keys(replace(PROOF_SIZES, num_layers=2, dual_attention_layers=(1,))))


def test_the_proof_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    proof_model(PROOF_SIZES)
    assert torch.equal(torch.get_rng_state(), before)


def test_at_its_start_it_is_sd3_on_source_noise_and_driving(fresh, clip):
    noisy, conditions = clip
    canvas = wide_canvas(noisy, conditions)
    timesteps = torch.tensor([0.0] * 3 + [700.0] * 4 + [0.0] * 3 + [250.0] * 4)
    context, pooled = fresh.context.expand(len(canvas), -1, -1), fresh.pooled.expand(len(canvas), -1)
    with torch.inference_mode():
        theirs = fresh.transformer(canvas, context, pooled, timesteps, return_dict=False)[0]
        ours = fresh(noisy, TIMESTEP, conditions)
    width = noisy.shape[-1]
    assert torch.equal(ours.flatten(0, 1), theirs[[*range(3, 7), *range(10, 14)], ..., width : 2 * width])


def test_the_three_have_positions_of_their_own(fresh):
    """Those of the middle shifted by the width to either side, as the table has them."""
    embed, most, (rows, columns) = fresh.transformer.pos_embed, PROOF_SIZES.pos_embed_max_size, (4, 3)
    table = embed.pos_embed.reshape(most, most, -1)
    top, left = (most - rows) // 2, (most - columns) // 2
    wide = embed.cropped_pos_embed(8, 18).reshape(rows, 3 * columns, -1)
    for part, shift in enumerate((-columns, 0, columns)):
        own = table[top : top + rows, left + shift : left + shift + columns]
        assert torch.equal(wide[:, part * columns : (part + 1) * columns], own)


def test_tokens_are_split_by_columns():
    tokens = torch.arange(2 * 5 * 4 * 9).reshape(10, 36, 1)  # 2 clips of 5 frames, 4 rows of 3 x 3 columns
    left, middle, right = split_tokens(tokens, 2, 4)
    assert middle[1, 2, 3, :, 0].tolist() == [7 * 36 + 3 * 9 + 3 + column for column in range(3)]
    assert left.shape == right.shape == (2, 5, 4, 3, 1)
    assert torch.equal(join_tokens(left, middle, right), tokens)


def test_video_attention_joins_all_frames_with_a_time_code(synth):
    B, T, S, D, heads = 1, 5, 2, 8, 2
    attention = synth.load_synth(VideoAttention(D, heads), "video.")
    tokens = torch.randn(B, T, S, D, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = attention(tokens, clip_times(3, 2, tokens.device))
        norm = functional.layer_norm(tokens, (D,), eps=1e-6)
        code = [
            [math.sin(t / 10000 ** (i / 4)) for i in range(4)] + [math.cos(t / 10000 ** (i / 4)) for i in range(4)]
            for t in (-3, -2, -1, 0, 1)
        ]
        coded = norm + torch.tensor(code)[None, :, None]
        queries, keys = attention.to_q(coded).reshape(T * S, heads, 4), attention.to_k(coded).reshape(T * S, heads, 4)
        values = attention.to_v(norm).reshape(T * S, heads, 4)
        rms = [x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() for x in (queries, keys)]
        queries, keys = rms[0] * attention.norm_q.weight, rms[1] * attention.norm_k.weight
        heard = [torch.stack([(queries[:, h] @ keys[:, h].T / 2).softmax(-1) @ values[:, h] for h in range(heads)], 1)]
        expected = attention.to_out(heard[0].reshape(B, T, S, D))
    assert (found - expected).abs().max() < 1e-5


def test_frames_of_a_clip_are_at_minus_three_to_fifteen():
    assert clip_times(3, 16, torch.device("cpu")).tolist() == list(range(-3, 16))


def test_video_attention_is_zero_until_it_is_trained():
    attention = VideoAttention(8, 2)
    assert not attention(torch.ones(1, 2, 3, 8), torch.arange(2)).any()


def test_after_each_layer_the_middle_of_all_frames_is_joined(trained, clip):
    """The loop with video attention, its tokens chosen by their numbers."""
    noisy, conditions = clip
    canvas = wide_canvas(noisy, conditions)
    timesteps = torch.tensor([0.0] * 3 + [700.0] * 4 + [0.0] * 3 + [250.0] * 4)
    middle = [row * 9 + column for row in range(4) for column in (3, 4, 5)]

    def exchange(layer, tokens):
        tokens = tokens.clone()
        for frames in (range(7), range(7, 14)):
            chosen = tokens[frames.start : frames.stop, middle]
            change = trained.video[layer](chosen[None], torch.arange(-3, 4))[0]
            tokens[frames.start : frames.stop, middle] = chosen + change
        return tokens

    context, pooled = trained.context.expand(len(canvas), -1, -1), trained.pooled.expand(len(canvas), -1)
    with torch.inference_mode():
        wide = run_transformer(trained.transformer, canvas, timesteps, context, pooled, exchange)
        found = trained(noisy, TIMESTEP, conditions).flatten(0, 1)
    assert (found - wide[[*range(3, 7), *range(10, 14)], ..., 6:12]).abs().max() < 1e-4


def test_frames_of_history_are_clean():
    assert frame_timesteps(TIMESTEP, 2).tolist() == [[0, 0, 0, 700, 700], [0, 0, 0, 250, 250]]


def changed(model, noisy, conditions, other_noisy, other):
    """Which frames [F] of the first clip another clip changes."""
    with torch.inference_mode():
        one, two = model(noisy, TIMESTEP, conditions), model(other_noisy, TIMESTEP, other)
    return [not torch.equal(*pair) for pair in zip(one[0], two[0], strict=True)]


def test_frames_and_history_speak_through_video_attention_alone(fresh, trained, clip):
    noisy, conditions = clip
    noise = noisy.clone()
    noise[0, 2] += 1
    history = ClipHistory(conditions.history.latents + 1, conditions.history.driving)
    assert changed(fresh, noisy, conditions, noise, conditions) == [False, False, True, False]
    assert changed(trained, noisy, conditions, noise, conditions) == [True] * 4
    assert changed(fresh, noisy, conditions, noisy, replace(conditions, history=history)) == [False] * 4
    assert changed(trained, noisy, conditions, noisy, replace(conditions, history=history)) == [True] * 4


def test_the_driving_of_history_and_the_source_count(trained, clip):
    noisy, conditions = clip
    driven = ClipHistory(conditions.history.latents, conditions.history.driving + 1)
    assert changed(trained, noisy, conditions, noisy, replace(conditions, history=driven)) == [True] * 4
    assert changed(trained, noisy, conditions, noisy, replace(conditions, source=conditions.source + 1)) == [True] * 4


def test_no_history_is_history_of_zeros(trained, clip):
    noisy, conditions = clip
    zeros = torch.zeros_like(conditions.history.latents)
    none = conditions.without_history()
    assert changed(trained, noisy, none, noisy, replace(conditions, history=ClipHistory(zeros, zeros))) == [False] * 4
    assert changed(trained, noisy, none, noisy, conditions) == [True] * 4


def test_clips_of_a_batch_do_not_mix(trained, clip):
    noisy, conditions = clip
    noise = noisy.clone()
    noise[1] += 1
    assert changed(trained, noisy, conditions, noise, conditions) == [False] * 4


def test_everything_new_can_learn(clip):
    """The output projections have a gradient at once, what is before them after a step."""
    model = proof_model(PROOF_SIZES).requires_grad_(True)
    noisy, conditions = clip
    model(noisy, TIMESTEP, conditions).square().mean().backward()
    without = {key.split(".")[2] for key, value in model.named_parameters() if "video" in key and not value.grad.any()}
    assert without == {"to_q", "to_k", "to_v", "norm_q", "norm_k"}
    assert model.context.grad.any()
    assert model.pooled.grad.any()
    with_random_output(model).zero_grad()
    model(noisy, TIMESTEP, conditions).square().mean().backward()
    assert all(value.grad.any() for key, value in model.named_parameters() if "video" in key)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": torch.zeros(2, 4, 8, 4)}, r"the source of a clip .* must be \[2, 4, 8, 6\], got \[2, 4, 8, 4\]"),
        ({"driving": torch.zeros(2, 3, 4, 8, 6)}, "the driving of a clip"),
        ({"history": ClipHistory(torch.zeros(2, 2, 4, 8, 6), torch.zeros(2, 3, 4, 8, 6))}, "the history of a clip"),
        ({"history": ClipHistory(torch.zeros(2, 3, 4, 8, 6), torch.zeros(2, 3, 4, 8))}, "the driving of the history"),
    ],
)
def test_clips_that_do_not_agree_are_refused(fresh, clip, change, message):
    noisy, conditions = clip
    with pytest.raises(InputError, match=message):
        fresh(noisy, TIMESTEP, replace(conditions, **change))


@pytest.mark.parametrize(("height", "width"), [(7, 6), (8, 5), (34, 6), (8, 12)])
def test_sizes_beyond_the_positions_or_between_patches_are_refused(fresh, height, width):
    sized = [torch.zeros(1, 4, height, width), torch.zeros(1, 2, 4, height, width)]
    with pytest.raises(InputError, match="at most 32 high and 10 wide"):
        fresh(sized[1], TIMESTEP[:1], ClipConditions(*sized))


def test_a_diffusers_without_such_a_transformer_is_told(monkeypatch):
    monkeypatch.setattr("diffusers.SD3Transformer2DModel", lambda sample_size: sample_size)
    with pytest.raises(InputError, match="install a newer one"):
        build_canvas(PROOF_SIZES)
