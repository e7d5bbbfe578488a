"""Exact proofs without weights: the canvas loop against diffusers' own forward, fusion, and the keys."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .canvas import canvas_of, middle_latents
from .files import new_shapes, transformer_shapes
from .fusion import fused_velocity
from .model import CanvasTransformer, frame_timesteps, run_transformer
from .networks import build_canvas, seeded_tensor, starting_layers
from .types import HISTORY_FRAMES, SD35_MEDIUM, ClipConditions, ClipHistory, FusionScales, TransformerSizes

PROOF_SIZES = TransformerSizes(
    sample_size=8, in_channels=4, num_layers=3, attention_head_dim=8, num_attention_heads=2, joint_attention_dim=12,
    pooled_projection_dim=10, pos_embed_max_size=16, dual_attention_layers=(0, 1),
)  # fmt: skip
_CLIPS, _FRAMES, _HEIGHT, _WIDTH = 2, 4, 8, 6
_NO_GUIDANCE = FusionScales(1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Proof:
    """Two ways to the same numbers, or keys that must be there."""

    name: str
    difference: float  # largest absolute difference, or number of keys that do not fit
    why: str

    @property
    def holds(self) -> bool:
        """True if there is no difference at all."""
        return self.difference == 0


def prove(seed: int = 0) -> tuple[Proof, ...]:
    """Every exact statement about the canvas model, on a small model with random weights by `seed`, on the CPU."""
    model, noisy, conditions = proof_model(PROOF_SIZES, seed), *proof_clip(PROOF_SIZES, seed)
    timestep = torch.tensor([700.0, 250.0])
    with torch.inference_mode():
        canvas, timesteps, context, pooled = inputs = _canvas_inputs(model, noisy, timestep, conditions)
        own = model.transformer(canvas, context, pooled, timesteps, return_dict=False)[0]
        loop = run_transformer(model.transformer, *inputs, lambda _, tokens: tokens)
        middle = middle_latents(own).unflatten(0, (_CLIPS, -1))[:, HISTORY_FRAMES:]
        start = model(noisy, timestep, conditions)
        trained = with_random_output(model, seed)
        full = trained(noisy, timestep, conditions)
        plain = fused_velocity(trained, noisy, timestep, conditions, _NO_GUIDANCE)
    return (
        Proof("loop without video attention", _apart(loop, own), "the same layers in the same order as diffusers"),
        Proof("model with video attention at its start", _apart(start, middle), "its output projection is zero"),
        Proof("positions of the middle", _apart(*_positions(model)), "SD3 centres positions; the middle keeps its own"),
        Proof("fusion with all scales 1", _apart(plain, full), "each signal's share cancels but the last"),
        *prove_keys(),
    )


def prove_keys(sizes: TransformerSizes = SD35_MEDIUM) -> tuple[Proof, ...]:
    """Keys and shapes of SD3.5 Medium and of the new layers against the model on the meta device."""
    model = build_canvas(sizes)
    found = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    old = {f"transformer.{key}": shape for key, shape in transformer_shapes(sizes).items()}
    theirs = {key: shape for key, shape in found.items() if key.startswith("transformer.")}
    new = new_shapes(sizes)
    return (
        Proof("keys of SD3.5 Medium that do not fit", len(old.items() ^ theirs.items()), "loading is strict"),
        Proof("new keys that do not fit", len(new.items() ^ (found.items() - theirs.items())), "loading is strict"),
    )


def proof_model(sizes: TransformerSizes, seed: int = 0) -> CanvasTransformer:
    """A model of random weights on the CPU with video attention at its start. The global generator is left alone."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # layers draw weights, which are replaced
        model = CanvasTransformer(sizes).eval().requires_grad_(False)
    old = {f"transformer.{key}": tensor for key, tensor in model.transformer.named_parameters()}
    drawn = {key: seeded_tensor(key, tuple(old[key].shape), seed) * 0.3 for key in old}
    prompt = {key: seeded_tensor(key, shape, seed) for key, shape in new_shapes(sizes).items() if "." not in key}
    model.load_state_dict(drawn | starting_layers(sizes, seed) | prompt, strict=False)
    return model


def with_random_output(model: CanvasTransformer, seed: int = 0) -> CanvasTransformer:
    """Gives the output projections of video attention random weights, in place, as training would; returns `model`."""
    zero = {key: shape for key, shape in new_shapes(model.sizes).items() if ".to_out." in key}
    model.load_state_dict({key: seeded_tensor(key, shape, seed) for key, shape in zero.items()}, strict=False)
    return model


def proof_clip(sizes: TransformerSizes, seed: int = 0) -> tuple[Tensor, ClipConditions]:
    """Noisy latents and conditions with history, all random."""
    cells = (sizes.in_channels, _HEIGHT, _WIDTH)
    noisy, driving = (seeded_tensor(name, (_CLIPS, _FRAMES, *cells), seed) for name in ("noisy", "driving"))
    before = (seeded_tensor(name, (_CLIPS, HISTORY_FRAMES, *cells), seed) for name in ("clean", "driven"))
    return noisy, ClipConditions(seeded_tensor("source", (_CLIPS, *cells), seed), driving, ClipHistory(*before))


def _canvas_inputs(
    model: CanvasTransformer, noisy: Tensor, timestep: Tensor, conditions: ClipConditions
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What diffusers' own forward takes for the whole canvas: latents, timesteps, context, pooled."""
    canvas = canvas_of(noisy, conditions).flatten(0, 1)
    timesteps = frame_timesteps(timestep, noisy.shape[1]).flatten()
    return canvas, timesteps, model.context.expand(len(canvas), -1, -1), model.pooled.expand(len(canvas), -1)


def _positions(model: CanvasTransformer) -> tuple[Tensor, Tensor]:
    """Positions of the middle of a wide canvas, and those of a picture alone."""
    embed, rows = model.transformer.pos_embed, _HEIGHT // model.sizes.patch_size
    wide = embed.cropped_pos_embed(_HEIGHT, 3 * _WIDTH).unflatten(1, (rows, -1))
    return wide.chunk(3, 2)[1], embed.cropped_pos_embed(_HEIGHT, _WIDTH).unflatten(1, (rows, -1))


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())
