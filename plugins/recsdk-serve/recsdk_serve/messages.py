"""What a client sends and gets: the OpenAPI page is made of these types, and what does not fit them is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from recsdk.live import local

LONGEST_NAME, LONGEST_TEXT, MOST_FEATURES = local.LONGEST_NAME, local.LONGEST_TEXT, local.MOST_FEATURES
User = Annotated[str, Meta(max_length=LONGEST_NAME)]
Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]
Feature = Text | bool | int | float | None | list[Text]
FeatureName = Annotated[str, Meta(max_length=LONGEST_NAME)]
Position = Annotated[int, Meta(ge=0, le=10_000)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
MOST = 1_000
"""Requests, rewards or items of one call."""


class Decide(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A request for what to show; each field is the argument of `Recommender.recommend` of that name."""

    request: Annotated[
        dict[FeatureName, Feature], Meta(max_length=MOST_FEATURES, description="Features of the user and the circumstances.")
    ] = {}
    size: Annotated[int, Meta(ge=1, le=10_000, description="How many items to show.")] = 1
    at_most: Annotated[bool, Meta(description="Show fewer where fewer candidates are left.")] = False
    candidates: Annotated[list[str] | None, Meta(description="Item ids to choose from; without, the catalogue finds them.")] = None
    seen: Annotated[list[str], Meta(description="Item ids not to show.")] = []
    pinned: Annotated[dict[Position, str] | None, Meta(description="The item to show at a position, from 0 at the top.")] = None
    promoted: Annotated[dict[Position, list[str]] | None, Meta(description="The items that a position is drawn from.")] = None
    chosen: Annotated[list[str] | None, Meta(description="The slate that the client has chosen itself.")] = None
    user: Annotated[User | None, Meta(description="The user's key; without, the request's user_id.")] = None
    decision_id: Annotated[Name | None, Meta(description="A name for this decision: the same name gives the same answer.")] = None
    deferred: Annotated[bool, Meta(description="The slate may not be shown: it does not count before /v1/shown says so.")] = False


class Slate(Struct, frozen=True, kw_only=True):
    """The items to show, from the top; the decision is in the ledger."""

    decision_id: str
    ids: tuple[str, ...]
    propensities: Annotated[tuple[float, ...], Meta(description="Of each item at its position, given those above it.")]
    repeats: Annotated[str | None, Meta(description="The decision whose slate this is, where it is served again.")] = None


class DecideBatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Many requests, decided together: all or none."""

    requests: Annotated[list[Decide], Meta(min_length=1, max_length=MOST)]


class Slates(Struct, frozen=True, kw_only=True):
    """The slates, in the order of the requests."""

    slates: list[Slate]


class Reward(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reward of a shown item, or of the whole page."""

    decision_id: str
    value: float
    item: Annotated[str | None, Meta(description="Which of the shown items; not needed where one was shown.")] = None
    position: Annotated[Position | Literal["page"] | None, Meta(description="Where it was shown, in place of item.")] = None
    reward_id: Annotated[Name | None, Meta(description="A name for this reward, so that a repeated call counts once.")] = None


class Rewarded(Struct, frozen=True, kw_only=True):
    """A reward that is durable and learned."""

    new: Annotated[bool, Meta(description="False where it had been taken before, which changes nothing.")]


class RewardBatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Many rewards, each taken or refused by itself."""

    rewards: Annotated[list[Reward], Meta(min_length=1, max_length=MOST)]


class FollowSlates(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="stream", tag="slates"):
    """The first message on a WebSocket: which user's slates are to be sent."""

    user: Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
    size: Annotated[int, Meta(ge=1, le=100)] = 1
    request: Annotated[dict[FeatureName, Feature], Meta(max_length=MOST_FEATURES)] = {}
    key: str | None = None


class FollowDecisions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="stream", tag="decisions"):
    """The first message on a WebSocket: all decisions and rewards are to be sent, after the event of the id `last`."""

    last: str = ""
    key: str | None = None


class Problem(Struct, frozen=True, kw_only=True):
    """What is wrong with a call: nothing was done."""

    error: Annotated[str, Meta(description="The kind of error, such as UnknownItem; programs compare this.")]
    message: Annotated[str, Meta(description="What is wrong and what would be right, for people.")]
    field: Annotated[str | None, Meta(description="The field that it is about, where one is.")] = None


class Result(Struct, frozen=True, kw_only=True):
    """What became of one of many calls."""

    new: Annotated[bool, Meta(description="False where it had been taken before, or was refused.")]
    problem: Annotated[Problem | None, Meta(description="Why it was refused, where it was.")] = None


class Results(Struct, frozen=True, kw_only=True):
    """What became of each call, in their order."""

    results: list[Result]


class Signal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that happened to a shown item, in a folder with a feedback; see `Recommender.signal`."""

    name: str
    decision_id: str | None = None
    user: User | None = None
    item: str | None = None
    position: Position | Literal["page"] | None = None
    value: float = 1.0
    time: Annotated[float | None, Meta(description="Seconds since the epoch; without, now.")] = None
    signal_id: Name | None = None


class Correct(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A correction of a signal or a reward."""

    event_id: Annotated[str, Meta(description="The signal_id or reward_id that was given, or the default one.")]
    value: Annotated[float | None, Meta(description="What it is to be; null takes it back.")]


class Shown(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether a decision was shown."""

    decision_id: str
    shown: bool = True


class Received(Struct, frozen=True, kw_only=True):
    """What became of a message."""

    receipt: Annotated[str, Meta(description="taken, duplicate, early, late, expired or unknown.")]


class Items(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Items by id with their features; there may be `added`, the time of entry in seconds since the epoch."""

    items: Annotated[list[Annotated[dict[FeatureName, Feature], Meta(max_length=MOST_FEATURES)]], Meta(min_length=1, max_length=MOST)]


class ItemIds(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Items by id."""

    ids: Annotated[list[str], Meta(min_length=1, max_length=MOST)]


class Catalogue(Struct, frozen=True, kw_only=True):
    """The catalogue after a change."""

    num_items: int


class Forget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user who is to be forgotten."""

    user: Annotated[str, Meta(min_length=1)]


class Forgotten(Struct, frozen=True, kw_only=True):
    """What was deleted, see `Recommender.forget`."""

    report: dict[str, Any]


class Publish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other scorers, by name, which are made and tried aside before they serve; see `Recommender.swap`."""

    scorers: Annotated[list[str], Meta(max_length=MOST)]


class Nothing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No arguments."""


class Change(Struct, frozen=True, kw_only=True):
    """A change of what serves."""

    reason: str
    model: str
    policy: str
    time: Annotated[float, Meta(description="Seconds since the epoch.")]


class Models(Struct, frozen=True, kw_only=True):
    """What serves, and what has served, the oldest first."""

    policy: str
    num_learned: int
    num_items: int
    durability: str
    published: list[Change]


class Health(Struct, frozen=True, kw_only=True):
    """How a recommender does, as `recsdk status` says; what cannot be said yet is null."""

    decisions: int
    outcomes: Annotated[int, Meta(description="Shown items, or whole pages, that have a reward.")]
    last_decision: Annotated[float | None, Meta(description="Seconds since the epoch.")]
    last_reward: Annotated[float | None, Meta(description="Seconds since the epoch.")]
    settled: Annotated[int, Meta(description="Decisions that were shown, and whose window has closed.")]
    join_rate: Annotated[float | None, Meta(description="Share of these of which something was heard.")]
    default_share: Annotated[float | None, Meta(description="Share of the outcomes of which nothing was heard.")]
    mean_reward_last: Annotated[float | None, Meta(description="Of the last 1,000 outcomes.")]
    mean_reward_before: Annotated[float | None, Meta(description="Of all before.")]
    effective_items: Annotated[float | None, Meta(description="exp of the entropy at the top, a mean over the last 1,000 decisions.")]
    candidates: Annotated[float | None, Meta(description="How many could be drawn there.")]
    floor_share: Annotated[float | None, Meta(description="Share of the drawn items that had only their share of the floor.")]
    model: str | None
    policy: str | None
    alarms: Annotated[list[str], Meta(description="A sentence for each alarm that is on.")]
    failed: Annotated[dict[str, int], Meta(description="Of the last 1,000 decisions, those that were made without a part.")]
    drift: Annotated[dict[str, float | None], Meta(description="Population stability index of each feature.")]
    events: Annotated[dict[str, int], Meta(description="What became of the last 1,000 rewards and signals.")]


class RewardStep(Struct, frozen=True, kw_only=True):
    """The mean reward of some outcomes that came one after the other, with an interval of at least 95 %; null where it cannot be said."""

    time: Annotated[float, Meta(description="Of the last of them, in seconds since the epoch.")]
    num: int
    mean: float
    low: float | None
    high: float | None


class ChoiceStep(Struct, frozen=True, kw_only=True):
    """How much was explored in some decisions that came one after the other; null where nothing was drawn."""

    time: Annotated[float, Meta(description="Of the last of them, in seconds since the epoch.")]
    num: int
    effective_items: Annotated[float | None, Meta(description="exp of the entropy at the top, a mean.")]
    candidates: float | None
    floor_share: Annotated[float | None, Meta(description="Share of the drawn items that had only their share of the floor.")]
    floor_expected: Annotated[float | None, Meta(description="What this share should be, by the logged probabilities.")]


class ItemShare(Struct, frozen=True, kw_only=True):
    """How much of what was shown an item was."""

    id: Annotated[str | None, Meta(description="null for all others together.")]
    share: float


class Look(Struct, frozen=True, kw_only=True):
    """What the folder says; the steps and shares are of the last 2,000 decisions and 4,000 outcomes."""

    time: Annotated[float, Meta(description="When it was looked at, in seconds since the epoch.")]
    health: Health
    rewards: list[RewardStep]
    choices: list[ChoiceStep]
    items: list[ItemShare]
    seconds: Annotated[float, Meta(description="That it took a processor to look.")]


class Challenger(Struct, frozen=True, kw_only=True):
    """How a challenger of the policy stands, see `recsdk.Trials`."""

    name: str
    num_rounds: Annotated[int, Meta(description="Outcomes by which it has been judged.")]
    advantage: Annotated[float, Meta(description="Mean reward at the top that it would have earned, less what was earned.")]
    low: Annotated[float, Meta(description="Lower bound of the advantage; above 0 it may be promoted.")]
    share: Annotated[float, Meta(description="Of the traffic that it decides.")]
    error: str


class Status(Struct, frozen=True, kw_only=True):
    """How the recommender does."""

    look: Look
    models: Models
    challengers: list[Challenger]


class Exporting(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wanted of an export."""

    keep: Annotated[int, Meta(ge=1, le=100, description="Files that are kept, the newest; decisions by older ones are refused.")] = 4


class Export(Struct, frozen=True, kw_only=True):
    """What decides now, as a file by which another process can decide; see `Recommender.export`."""

    data: bytes


class LocalDecision(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A decision that another process has made by an export; see `recsdk.live.local`."""

    asked: Annotated[Decide, Meta(description="What for; it has a decision_id.")]
    export: Annotated[str, Meta(max_length=128, description="Name of the export.")]
    time: Annotated[float, Meta(description="Seconds since the epoch.")]
    digest: Annotated[str, Meta(max_length=128, description="Of the candidates, the slate and the distributions.")]


class LocalDecisions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Many decisions, each taken or refused by itself."""

    decisions: Annotated[list[LocalDecision], Meta(min_length=1, max_length=MOST)]


class Live(Struct, frozen=True, kw_only=True):
    """Whether the process answers."""

    live: bool


class Ready(Struct, frozen=True, kw_only=True):
    """Whether it takes requests: the folder is open and the models are warm."""

    ready: bool


class Metadata(Struct, frozen=True, kw_only=True):
    """The server, as KServe's V2 protocol asks for it."""

    name: str
    version: str
    extensions: list[str]
