"""The video network that a configuration names: from frame features, or from pixels, to H and v."""

from __future__ import annotations

from torch import nn

from ..runtime.errors import OptionError
from .config import ModelConfig
from .image_towers import ImageTower
from .map_towers import MapResNet
from .networks.cat import CatEncoder
from .networks.s3d import S3DG
from .networks.trn import RelationNetwork
from .networks.video_swin import SMALL, SWIN3D_T, VideoSwin, load_kinetics_weights
from .temporal import TemporalEncoder

__all__ = ["create_video_network"]


def create_video_network(
    model: ModelConfig, image: ImageTower, *, dim: int, num_frames: int, pretrained: str
) -> nn.Module:
    """Build it: (B, T, F) to H (B, T, D) and v (B, D).

    Args:
        model: names it.
        image: what gives the frame features, or the pixels.
        dim: D.
        num_frames: T.
        pretrained: weights of a `video-swin`, `hub` or a file; empty for random ones.

    Raises:
        OptionError: if the network does not take what the image tower gives, or its weights cannot be had.
    """
    if model.network == "transformer":
        return _transformer(model, image, dim=dim, num_frames=num_frames)
    if model.network == "cat":
        return _cat(model, image, dim=dim, num_frames=num_frames)
    if model.network == "trn":
        return RelationNetwork(image.feature_dim, dim=dim, num_frames=num_frames)
    if model.network == "s3d-g":
        if pretrained:
            raise OptionError(
                "model.vision_pretrained: no weights of S3D-G can be read here; leave it empty, or start from a RUN "
                "with --init"
            )
        return S3DG(image.height, image.width, dim=dim, num_frames=num_frames, width_factor=model.network_width)
    network = VideoSwin(
        image.height,
        image.width,
        dim=dim,
        num_frames=num_frames,
        sizes=SWIN3D_T if model.network == "video-swin" else SMALL,
        width_factor=model.network_width,
    )
    if pretrained:
        load_kinetics_weights(network, pretrained)
    return network


def _transformer(model: ModelConfig, image: ImageTower, *, dim: int, num_frames: int) -> TemporalEncoder:
    return TemporalEncoder(
        image.feature_dim,
        map_channels=image.map_channels,
        dim=dim,
        num_frames=num_frames,
        width=model.width,
        depth=model.depth,
        heads=model.heads,
        head_dim=model.head_dim,
        mlp_width=model.mlp_width,
        attention_scale=model.attention_scale,
        position_std=model.position_std,
        hidden_layer=model.hidden_layer,
        video_vector=model.video_vector,
        center=model.center,
    )


def _cat(model: ModelConfig, image: ImageTower, *, dim: int, num_frames: int) -> CatEncoder:
    if not isinstance(image.module, MapResNet):
        raise OptionError(
            f"network = cat takes whole maps, which {model.vision or model.clip} does not give; set model.vision to "
            "weaksvr_resnet50_maps or weaksvr_thin_resnet_maps"
        )
    rows, columns = image.module.map_size(image.height, image.width)
    return CatEncoder(
        channels=image.module.map_channels,
        map_height=rows,
        map_width=columns,
        dim=dim,
        num_frames=num_frames,
        depth=model.depth,
        width=model.width,
        heads=model.heads,
        head_dim=model.head_dim,
        mlp_width=model.mlp_width,
        attention_scale=model.attention_scale,
        position_std=model.position_std,
    )
