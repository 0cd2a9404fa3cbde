"""The fitted models of the live loop: an encoder and scorers, which make the features of candidates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recsdk import states
from recsdk.base import Encoder, Events, FoldsOnline, Items, Online, Request, Scorer, stands_for
from recsdk.checks import is_within, plain_array, require_integer
from recsdk.columns import request_table
from recsdk.data import take
from recsdk.errors import InvalidAnswer, InvalidScores, InvalidValue, LedgerMismatch
from recsdk.ledger import Ledger
from recsdk.live import features
from recsdk.live.faults import STRICT, Asking
from recsdk.live.guard import Features, frozen_items, guarded, only_reading
from recsdk.live.identity import differences, identity
from recsdk.live.layout import Layout
from recsdk.live.made import Fitted, Made, digest, model_of, version_of
from recsdk.live.marks import ENCODER, SCORER

LARGEST_SCORE = 1e30
"""Some libraries mark what they have filtered by -3.4e38, the least float32: that is no score."""
LARGEST_COORDINATE = 1e15
"""Of a vector; so products of two stay within `LARGEST_SCORE`."""


class Evidence:
    """An encoder, or none, and scorers with their states.

    Attributes:
        is_shared: whether several threads may ask at once: not where a scorer learns online, in place perhaps, nor where a part is native.
    """

    def __init__(self, encoder: Encoder[Any] | None, scorers: Sequence[Scorer[Any]]) -> None:
        self.encoder = encoder
        self.scorers = tuple(scorers)
        for scorer in self.scorers:
            if not (isinstance(scorer.columns, tuple) and all(isinstance(column, str) for column in scorer.columns)):
                raise InvalidValue(f"columns of {scorer!r} must be a tuple of names, such as ('age',), got {scorer.columns!r}.")
        self.columns = tuple(column for scorer in self.scorers for column in scorer.columns)
        self._names = tuple(f"{SCORER}{scorer.columns[0] if scorer.columns else ''}" for scorer in self.scorers)
        if len(set(self.columns)) < len(self.columns):
            raise InvalidValue(f"scorers must have columns of different names, got {self.columns}.")
        if encoder is not None:
            require_integer(f"{type(encoder).__name__}.dim", encoder.dim, at_least=1)
        self.dim = 0 if encoder is None else encoder.dim
        self.version = "none"
        self.model = ""  # version of the encoder and the scorers together
        self.num_events = 0  # of the history that the encoder was fitted to
        self.layout = Layout("none", 0, ())
        self.known: dict[int, tuple[str, ...]] = {}  # columns of every scorer that was ever fitted in the folder
        self._fitted: tuple[int, ...] = ()  # the scorers' numbers among these
        self._online = [(index, scorer) for index, scorer in enumerate(self.scorers) if isinstance(scorer, Online)]
        self.is_shared = not self._online and not any(map(states.is_native, (encoder, *self.scorers)))
        self._encoder_state: Any = None
        self.states: list[Any] = []  # of the scorers

    def settle(self, known: Made | None, history: Callable[[], Events], ledger: Ledger, *, refit: bool = False) -> Made:
        """Reads the models that the folder has, fits those that are new in it, and keeps them in the ledger.

        Args:
            known: what the folder has; None for a new one.
            history: gives the events that new models are fitted to.
            ledger: in a transaction, so that a folder is made, or changed, or neither.
            refit: whether those that the folder has are fitted again.

        Raises:
            LedgerMismatch: another encoder than the folder has, and no history to fit it to.
        """
        new = Made(None, "none", "none", 0, 0, (), (), ()) if known is None else known
        new = self._settled_encoder(known is None, new, history, ledger, refit)
        numbers = [self._number_of(scorer, new) for scorer in self.scorers]
        for place, scorer in enumerate(self.scorers):
            number = numbers[place]
            if number is None:
                numbers[place] = number = len(new.scorers)
                new = new._replace(scorers=(*new.scorers, Fitted(identity(scorer), scorer.columns)))
            elif not refit:
                continue
            ledger.put(f"fitted/scorer{number}", states.dumps(scorer, scorer.fit(history())))
        new = new._replace(present=tuple(number for number in numbers if number is not None))
        if refit or known is None or new.scorers != known.scorers or new.version != known.version:
            new = new._replace(history=tuple(dict.fromkeys((*new.history, digest(history())))))
        self._fitted = new.present
        new = new._replace(vectors=self.version, dim=self.dim, stored="")
        self.layout = new.layout
        self.known = new.columns
        self.model = model_of(new, ledger)
        self.restore(ledger, "fitted")  # what cannot be read back is refused while the folder can still be made otherwise
        return new

    def _settled_encoder(self, is_new_folder: bool, made: Made, history: Callable[[], Events], ledger: Ledger, refit: bool) -> Made:
        if self.encoder is None:
            self.num_events = len(history().item) if is_new_folder else made.num_events
            return made._replace(num_events=self.num_events)
        changes = differences(made.encoder, self.encoder)
        if changes or refit:
            log = history()
            if not len(log.item) and not is_new_folder:
                raise LedgerMismatch(
                    f"The folder has another encoder than the one given: {'; '.join(changes)}. Give the encoder it has, or history= to fit "
                    "this one to: then what was learned is folded again from the log, with the new vectors."
                )
            data = states.dumps(self.encoder, self.encoder.fit(log))
            ledger.put("fitted/encoder", data)
            made = made._replace(encoder=identity(self.encoder), version=version_of(data), num_events=len(log.item))
        self._close_encoder()
        template = None if states.is_native(self.encoder) else self.encoder.init()
        self._encoder_state = states.loads(self.encoder, template, _stored(ledger, "fitted/encoder"))
        self.version, self.num_events = made.version, made.num_events
        return made

    def _number_of(self, scorer: Scorer[Any], made: Made) -> int | None:
        same = (
            number
            for number, fitted in enumerate(made.scorers)
            if fitted.columns == scorer.columns and not differences(fitted.part, scorer)
        )
        return next(same, None)

    def keep(self, ledger: Ledger, where: str) -> None:
        """Writes the scorers' states, which rewards change, under a name."""
        for number, scorer, state in zip(self._fitted, self.scorers, self.states, strict=True):
            ledger.put(f"{where}/scorer{number}", states.dumps(scorer, state))

    def restore(self, ledger: Ledger, where: str) -> None:
        """Reads what `keep` wrote under a name."""
        restored = [
            states.loads(scorer, None if states.is_native(scorer) else scorer.init(), _stored(ledger, f"{where}/scorer{number}"))
            for number, scorer in zip(self._fitted, self.scorers, strict=True)
        ]
        before, self.states = self.states, restored  # at once: other threads are reading
        self._close_scorers(before)

    def described(self) -> list[dict[str, Any]]:
        """Returns the scorers as a decision records them, in plain JSON: numbers, names and columns."""
        named = [(number, identity(scorer), scorer) for number, scorer in zip(self._fitted, self.scorers, strict=True)]
        return [{"fitted": n, "name": told["name"] or told["class"], "columns": list(scorer.columns)} for n, told, scorer in named]

    def prior(self) -> np.ndarray:
        """Returns f64[D], what phi's weights are believed to be: an encoder that has seen nothing deserves no trust."""
        believed = features.prior(len(self.columns), self.dim)
        return believed if self.num_events else np.zeros_like(believed)

    def user(self, request: Request, asking: Asking = STRICT) -> np.ndarray:
        """Returns f32[dim], the vector of a request; 0 where the encoder fails."""
        if self.encoder is None:
            return np.zeros(0, np.float32)
        encoder, state = self.encoder, self._encoder_state
        given, _ = guarded(request)
        table = Features(request_table(given.plain()), given.read)

        def vector() -> np.ndarray:
            answer = encoder.encode_requests(state, table)
            return _checked(encoder, answer, (1, self.dim), LARGEST_COORDINATE).reshape(self.dim)

        return asking(ENCODER, encoder, vector, lambda: np.zeros(self.dim, np.float32))

    def vectors(self, items: Items) -> np.ndarray:
        """Returns f32[N, dim], the vectors of items."""
        if self.encoder is None or len(items.ids) == 0:
            return np.zeros((len(items.ids), self.dim), np.float32)
        with only_reading(self.encoder):
            answer = self.encoder.encode_items(self._encoder_state, frozen_items(items))
        return _checked(self.encoder, answer, (len(items.ids), self.dim), LARGEST_COORDINATE)

    def phi(
        self,
        user: np.ndarray,
        request: Request,
        candidates: Items,
        vectors: np.ndarray,
        asking: Asking = STRICT,
        passing: tuple[type[Exception], ...] = (),
    ) -> np.ndarray:
        """Returns f64[K, D], what the policy sees of the candidates; 0 in the columns of a scorer that fails.

        Args:
            user: f32[dim].
            request: of the user.
            candidates: K items.
            vectors: f32[K, dim], theirs.
            asking: asks the scorers.
            passing: errors of scorers that are raised in any case.

        Raises:
            InvalidScores: a scorer's answer that is not f32[K, C], finite and within ±1e30.
            InvalidAnswer: a scorer that writes to its input.
        """
        _, request = guarded(request)
        frozen = frozen_items(candidates)
        columns = [self._scores(index, request, frozen, asking, passing) for index in range(len(self.scorers))]
        joined = np.concatenate(columns, axis=1) if columns else np.zeros((len(candidates.ids), 0), np.float32)
        return features.phi(user, vectors, joined)

    def usable(self, request: Request, candidates: Items, asking: Asking = STRICT) -> np.ndarray:
        """Returns bool[K], for which candidates every scorer gives usable scores, or fails, when it is asked about that candidate alone.

        One item without a feature that a scorer divides by must not stop every request.
        """
        found, (_, request) = np.ones(len(candidates.ids), bool), guarded(request)
        for place in range(len(found)):
            try:
                for index in range(len(self.scorers)):
                    self._scores(index, request, frozen_items(take(candidates, [place])), asking, (InvalidScores,))
            except InvalidScores:
                found[place] = False
        return found

    def _scores(
        self, index: int, request: Request, candidates: Items, asking: Asking, passing: tuple[type[Exception], ...] = ()
    ) -> np.ndarray:
        """Asks a scorer, with a request and candidates that it cannot write to."""
        scorer, state = self.scorers[index], self.states[index]
        shape = len(candidates.ids), len(scorer.columns)

        def scores() -> np.ndarray:
            return _checked(scorer, scorer.score(state, request, candidates), shape, LARGEST_SCORE)

        return asking(self._names[index], scorer, scores, lambda: np.zeros(shape, np.float32), passing)

    @property
    def learns(self) -> bool:
        """Whether any scorer learns online."""
        return bool(self._online)

    def learn(self, request: Request, item: Items, reward: float) -> None:
        """Shows a reward to the scorers that learn online."""
        for index, scorer in self._online:
            self._take(index, scorer.update(self.states[index], request, item, reward))

    def fold(self, requests: Sequence[Request], slots: Sequence[int], rewards: Sequence[float], item: Callable[[int], Items]) -> None:
        """Is `learn` of many rewards in order; `item` returns the shown item of the reward at a place."""
        for index, scorer in self._online:
            if isinstance(scorer, FoldsOnline) and stands_for(scorer, "fold", ("update",)):
                self._take(index, scorer.fold(self.states[index], requests, slots, rewards))
                continue
            for place, request in enumerate(requests):
                asked = Request(dict(request.features), request.time)
                self._take(index, scorer.update(self.states[index], asked, item(place), rewards[place]))

    def _take(self, index: int, after: Any) -> None:
        """Takes a scorer's state after a reward."""
        if after is None and self.states[index] is not None:
            raise InvalidAnswer(f"update of {self.scorers[index]!r} must return the state after the reward, got None.")
        self.states[index] = after

    def close(self) -> None:
        """Frees what native models hold."""
        self._close_encoder()
        before, self.states = self.states, []
        self._close_scorers(before)

    def _close_encoder(self) -> None:
        if self._encoder_state is not None:
            states.close(self.encoder, self._encoder_state)
            self._encoder_state = None

    def _close_scorers(self, scorer_states: list[Any]) -> None:
        for scorer, state in zip(self.scorers, scorer_states, strict=False):  # none before `fit` or `restore`
            states.close(scorer, state)


def _stored(ledger: Ledger, name: str) -> bytes:
    data = ledger.get(name)
    if data is None:
        raise LedgerMismatch(f"The ledger has no {name!r}: it was made with other parts.")
    return data


def _checked(component: Any, answer: Any, shape: tuple[int, ...], largest: float) -> np.ndarray:
    if type(answer) is np.ndarray and answer.dtype == np.float32 and answer.shape == shape and is_within(answer, largest):
        return answer

    def wanted() -> str:
        return f"{component!r} must answer finite float32{list(shape)} within ±{largest:g}"

    try:
        array = plain_array("answer", answer, error=InvalidScores)
    except (TypeError, ValueError) as error:
        raise InvalidScores(f"{wanted()}, got {answer!r:.200}.") from error
    if array.shape != shape or array.dtype != np.float32 or not is_within(array, largest):
        raise InvalidScores(f"{wanted()}, got {array.dtype}{list(array.shape)}: {array}.")
    return array
