"""The networks, in Keras on JAX. Input: pixels from 0 to 255; outputs: logits and features.

Down-sampling is by strided convolution only, since max-pooling does not survive the export to ONNX.
"""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import Model, layers

from flows.errors import WatchkeeperError
from flows.retrain.config import TrainingConfig
from services.bento.prediction_log import EMBEDDING_SIZE


def build(config: TrainingConfig, classes: int) -> Any:
    """A network with outputs `logits` of shape (n, classes) and `features` of shape (n, size).

    Raises:
        WatchkeeperError: no such backbone, or its weights cannot be fetched.
    """
    pixels = keras.Input((None, None, 3), name="pixels")  # so that training may begin with small pictures
    features = small(pixels, config) if config.backbone == "small" else pretrained(pixels, config)
    dropped = layers.Dropout(config.dropout)(features)
    logits = layers.Dense(classes, name="logits", dtype="float32")(dropped)
    return Model(pixels, {"logits": logits, "features": features})


def small(pixels: Any, config: TrainingConfig) -> Any:
    """A residual network of four stages (He et al., "Identity mappings in deep residual networks", 2016)."""
    x = layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    x = layers.Conv2D(config.filters, 5, strides=2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    for stage in range(4):
        x = residual(x, config.filters * 2**stage, strides=1 if stage == 0 else 2)
    return layers.GlobalAveragePooling2D(name="features")(x)


def residual(x: Any, filters: int, strides: int) -> Any:
    """Two convolutions and a way past them."""
    past = x
    if strides > 1 or x.shape[-1] != filters:
        past = layers.Conv2D(filters, strides, strides=strides, padding="same", use_bias=False)(x)
        past = layers.BatchNormalization()(past)
    for number in range(2):
        x = layers.Conv2D(filters, 3, strides=strides if number == 0 else 1, padding="same", use_bias=False)(
            x
        )
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x) if number == 0 else x
    return layers.ReLU()(layers.Add()([past, x]))


def pretrained(pixels: Any, config: TrainingConfig) -> Any:
    """A network of `keras.applications` with ImageNet weights."""
    factory = getattr(keras.applications, config.backbone, None)
    if not callable(factory):
        raise WatchkeeperError(
            f"backbone {config.backbone!r} is none of keras.applications; try MobileNetV3Small, or `small`"
        )
    shape = (config.height, config.width, 3)
    try:
        base = factory(include_top=False, weights="imagenet", input_shape=shape, pooling="avg")
    except ValueError as error:
        raise WatchkeeperError(f"backbone {config.backbone}: {error}") from None
    except Exception as error:
        raise WatchkeeperError(
            f"the ImageNet weights of backbone {config.backbone!r} cannot be fetched ({error}); set "
            "`backbone: small` in the training config, or fetch them once where there is a network"
        ) from None
    return base(pixels)


def final(model: Any, config: TrainingConfig, temperature: float, features: npt.NDArray[np.float32]) -> Any:
    """The network that is exported: outputs `probabilities` and `embedding`.

    Args:
        model: what `build` made, trained.
        config: its configuration.
        temperature: divides the logits (Guo et al., "On calibration of modern neural networks", 2017).
        features: of shape (n, size), whose principal components span the embedding.
    """
    pixels = keras.Input((config.height, config.width, 3), name="pixels")
    outputs = model(pixels, training=False)
    scaled = layers.Rescaling(1 / temperature)(outputs["logits"])
    probabilities = layers.Softmax(name="probabilities")(scaled)
    mean, axes = principal_axes(features)
    projection = layers.Dense(axes.shape[1], name="embedding")
    embedding = projection(outputs["features"])
    projection.set_weights([axes, -mean @ axes])
    return Model(pixels, {"probabilities": probabilities, "embedding": embedding})


def principal_axes(
    features: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean, and the first principal axes as columns, at most `EMBEDDING_SIZE` of them."""
    mean = features.mean(axis=0)
    _, _, axes = np.linalg.svd(features - mean, full_matrices=False)
    return mean, np.ascontiguousarray(axes[:EMBEDDING_SIZE].T)
