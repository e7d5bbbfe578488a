"""The networks. Attribute names match the published checkpoints; every layer comes from an `ops` namespace.

`ops` is any namespace with Linear, Conv2d, GroupNorm and LayerNorm, and for LivePortrait and the video UNet Conv3d, of
torch.nn's signatures (default: torch.nn itself).
A host that casts and offloads layers itself, such as ComfyUI, passes its own classes. `ops` may also contain
`scaled_dot_product_attention` with torch's signature, and `kernels`, a set of fused functions between the layers (see
`kernels/`; `kernels.fast_ops` gives a namespace for a GPU). Parameters and buffers outside these layers are moved to
the activations' device and dtype at each use.
"""
