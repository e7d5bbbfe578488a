"""The networks. Attribute names are those of the published checkpoints; every layer comes from an `ops` namespace.

`ops` is any namespace with Linear, Conv2d, GroupNorm and LayerNorm of torch.nn's signatures (default: torch.nn itself).
A host that casts and offloads layers on its own passes its classes. It may also offer `scaled_dot_product_attention`
with torch's signature. Loose parameters and buffers are brought to the activations' device and type at use.
"""
