"""Streams for recsdk: requests in, slates out; signals and rewards in. `consume` feeds a recommender from a `Source`."""

from recsdk_streams.base import Letter, Message, Sink, Source, StreamError, StreamGap
from recsdk_streams.consumer import Consumed, Consumer, consume
from recsdk_streams.files import FileSink, FileSource

__all__ = ["Consumed", "Consumer", "FileSink", "FileSource", "Letter", "Message", "Sink", "Source", "StreamError", "StreamGap", "consume"]
