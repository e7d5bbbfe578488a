"""The ComfyUI nodes: thin shells around `personalive_core`, without mathematics of their own."""

from __future__ import annotations

from comfy_api.v0_0_2 import ComfyExtension, io

from .blend import BlendMotion
from .edit import EditMotion
from .expression_editor import ExpressionEditor
from .expression_timeline import ExpressionTimeline
from .expressions import BlendExpressions, LoadExpression, SaveExpression
from .extract import ExtractHybridMotion
from .fit import KeypointInterpolate
from .host.editing import add_edit_route
from .host.faces import add_routes
from .host.folders import register_model_folder
from .host.live import add_live_routes
from .host.renames import accept_old_ids, tell_replacements
from .host.samples import copy_samples
from .hunyuan_motion import ExtractHunyuanMotion
from .hunyuan_sample import HunyuanImages, HunyuanVideo
from .live import LiveSession
from .live_liveportrait import LivePortraitSession
from .liveportrait_motion import ExtractImplicitMotion, PrepareSource
from .liveportrait_render import RenderImages, RenderVideo, Retarget
from .liveportrait_source_video import PrepareSourceVideo
from .load import LoadPersonaLive
from .load_hunyuan import LoadHunyuan
from .load_liveportrait import LoadLivePortrait
from .lora import LoadPersonaLiveLoRA
from .measure import Measure
from .motion_files import LoadMotion, SaveMotion
from .paste import PasteBack
from .plot import MotionPlot
from .prepare import KeyframeBank, PrepareReference
from .sample import StreamingSampler
from .sample_video import StreamingSamplerVideo

NODES: list[type[io.ComfyNode]] = [
    LoadPersonaLive,
    PrepareReference,
    ExtractHybridMotion,
    KeypointInterpolate,
    KeyframeBank,
    StreamingSampler,
    StreamingSamplerVideo,
    PasteBack,
    SaveMotion,
    LoadMotion,
    BlendMotion,
    MotionPlot,
    LoadPersonaLiveLoRA,
    EditMotion,
    LiveSession,
    LoadLivePortrait,
    ExpressionEditor,
    SaveExpression,
    LoadExpression,
    BlendExpressions,
    ExpressionTimeline,
    PrepareSource,
    ExtractImplicitMotion,
    Retarget,
    RenderImages,
    RenderVideo,
    PrepareSourceVideo,
    LivePortraitSession,
    Measure,
    LoadHunyuan,
    HunyuanImages,
    HunyuanVideo,
    ExtractHunyuanMotion,
]


class PersonaLiveExtension(ComfyExtension):
    """The extension object that ComfyUI asks for the list of nodes."""

    async def on_load(self) -> None:
        await tell_replacements(NODES)

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES


def comfy_entrypoint() -> PersonaLiveExtension:
    """ComfyUI calls this once when it loads the pack: registers folder, routes and old ids, brings the sample media."""
    register_model_folder()
    copy_samples()
    add_routes()
    add_live_routes()
    add_edit_route()
    accept_old_ids()
    return PersonaLiveExtension()
