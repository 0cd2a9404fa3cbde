"""What models of sequences have in common."""

from __future__ import annotations

from typing import Any

import attrs

from recsdk.checks import integer, number, require_number
from recsdk.errors import InvalidValue, nearest
from recsdk.validators import choice, feature_name, file_name


def _share(instance: Any, field: Any, value: Any) -> None:
    name = f"{type(instance).__name__}.{field.name}"
    require_number(name, value, at_least=0)
    if value and not 0 < round(256 * value) < 256:
        raise InvalidValue(f"{name} must be 0, or in [0.002, 0.998], got {value!r}.")


def _names(instance: Any, field: Any, value: Any) -> None:
    if not isinstance(value, tuple) or not all(isinstance(name, str) for name in value):
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be a tuple of names, got {value!r}.")


def _texts(instance: Any, field: Any, value: Any) -> None:
    _names(instance, field, value)
    other = next((name for name in value if name not in instance.item_features), None)
    if other is not None:
        told = f"must be among item_features, {instance.item_features}, got {other!r}"
        raise InvalidValue(f"{type(instance).__name__}.{field.name} {told}.{nearest(other, instance.item_features)}")


@attrs.frozen(kw_only=True)
class SequenceSettings:
    """Settings that all sequence encoders share: the vectors, the training, and where the history is.

    Attributes:
        dim: width of the vectors.
        max_length: latest items of a history that count.
        output: "tied" where items have one table of vectors, or "untied" where being taken and being offered have one each.
        similarity: "dot", or "cosine" for vectors of length 1.
        temperature: divides the scores in training; about 0.05 to 0.1 with "cosine".
        loss: "softmax" over the whole catalogue; or against `num_negatives` drawn items, for large catalogues: "sampled", a softmax with
            the logQ correction, "gbce", "bce" or "bpr".
        num_negatives: drawn items, the same for all sequences of a step.
        dropout: share that is left out in training, in whole 256ths: of each branch that is added, or of each input of a recurrent layer.
        epochs: at most.
        batch_size: sequences per step, a multiple of `accumulate`.
        accumulate: parts in which a step's sequences go through the network, one after another: a large batch then fits into memory.
        learning_rate: of AdamW after the warm-up.
        warmup_steps: over which the learning rate rises from 0.
        weight_decay: of AdamW, on the layers' matrices; vectors of items and places do not decay.
        clip_norm: length to which a longer gradient is shortened.
        patience: epochs without a better validation metric after which training stops; 0 to go on.
        num_validation: users whose last item validates; at most half of those who took two items. Each takes a byte for every row of the
            tables, 2 GiB at most: the default goes with a million items, more items with fewer users.
        max_windows: parts of `max_length` into which a long sequence is cut, the latest first; what is older is not trained on.
        precision: of the matrix products in training: "float32", "bfloat16", or "auto" for bfloat16 on accelerators.
        item_features: features of the items that their vectors are made of besides the id, so that an item which no fit has seen has a
            vector too: str, lists of str, and numbers, such as the coordinates of a vector made elsewhere. () for the id alone. Each row
            of the tables then takes 4 KiB in training, and each step multiplies them all, 2,048 `dim` operations a row: 262,144 rows at
            most, with `admit` after filling up.
        text_features: those of them that are split into lower-cased words.
        id_dropout: share of the items whose ids a step of the training leaves out, so that features alone learn to stand for an item; it
            counts only where there are `item_features`.
        admit: events in the log of a fit after which an item gets a vector of its own, so that a stream of new ids does not fill the
            tables; 0 for all items of the catalogue, taken or not. An item without is passed over in histories, and is what its features
            say, or the average item. From 1 on, tables and batches are filled up to powers of two: fits of a growing catalogue share
            compiled programs.
        expire: fits without an event after which an item gives back its row, for another one; 0 for never. It counts only with `admit`.
        user: the log's column that says who the user is, a str.
        history: the requests' list feature of item ids.
        checkpoint: file that is written after each epoch. A training that was interrupted goes on from it, to the very parameters that it
            would have reached, with as many `devices`; None for no file.
        devices: of JAX, that train together: each has a part of every batch and of the rows of every table of vectors. The model is that
            of one device up to rounding.
        progress: whether to show a bar on stderr; None where that is a terminal.

    References:
        Petrov and Macdonald, gSASRec: Reducing Overconfidence in Sequential Recommendation Trained with Negative Sampling, RecSys 2023
        (gbce); Rendle, Freudenthaler, Gantner, Schmidt-Thieme, BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009.

    Example:
        >>> SequenceSettings(epochs=5).batch_size
        128
    """

    dim: int = attrs.field(default=64, validator=integer(at_least=2))
    max_length: int = attrs.field(default=50, validator=integer(at_least=2))
    output: str = attrs.field(default="tied", validator=choice("tied", "untied"))
    similarity: str = attrs.field(default="dot", validator=choice("dot", "cosine"))
    temperature: float = attrs.field(default=1.0, validator=number(above=0))
    loss: str = attrs.field(default="softmax", validator=choice("softmax", "sampled", "bce", "gbce", "bpr"))
    num_negatives: int = attrs.field(default=1024, validator=integer(at_least=1))
    dropout: float = attrs.field(default=0.2, validator=_share)
    epochs: int = attrs.field(default=100, validator=integer(at_least=1))
    batch_size: int = attrs.field(default=128, validator=integer(at_least=1))
    accumulate: int = attrs.field(default=1, validator=integer(at_least=1))
    learning_rate: float = attrs.field(default=1e-3, validator=number(above=0))
    warmup_steps: int = attrs.field(default=100, validator=integer(at_least=0))
    weight_decay: float = attrs.field(default=0.01, validator=number(at_least=0))
    clip_norm: float = attrs.field(default=1.0, validator=number(above=0))
    patience: int = attrs.field(default=5, validator=integer(at_least=0))
    num_validation: int = attrs.field(default=2048, validator=integer(at_least=1))
    max_windows: int = attrs.field(default=1, validator=integer(at_least=1))
    precision: str = attrs.field(default="auto", validator=choice("auto", "float32", "bfloat16"))
    item_features: tuple[str, ...] = attrs.field(default=(), validator=_names)
    text_features: tuple[str, ...] = attrs.field(default=(), validator=_texts)
    id_dropout: float = attrs.field(default=0.5, validator=number(at_least=0, at_most=1))
    admit: int = attrs.field(default=0, validator=integer(at_least=0))
    expire: int = attrs.field(default=0, validator=integer(at_least=0))
    user: str = attrs.field(default="user_id", validator=feature_name)
    history: str = attrs.field(default="history", validator=feature_name)
    checkpoint: str | None = attrs.field(default=None, eq=False, repr=False, validator=attrs.validators.optional(file_name))
    devices: int = attrs.field(default=1, eq=False, repr=False, validator=integer(at_least=1))
    progress: bool | None = attrs.field(default=None, eq=False, repr=False)
