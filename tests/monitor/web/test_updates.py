"""Editions: what five of them a second leave behind."""

import gc
import weakref

from monitor.client import StreamClient
from monitor.detector import Geometry
from monitor.receiver import Receiver
from monitor.web.updates import UpdateBuilder
from monitor.web.view import Selection
from tests.monitor.publishing import TestPublisher
from tests.monitor.web.serving import FIGURES


def test_an_update_goes_at_once_when_nobody_needs_it(publisher: TestPublisher) -> None:
    """Where it waits for the garbage collector, a server with twenty browsers grows by hundreds of megabytes."""
    selection = Selection(chip=1, row=5, column=7)
    with Receiver(StreamClient(publisher.endpoint), Geometry()) as receiver:
        builder = UpdateBuilder(receiver, FIGURES.sources, {})
        gc.disable()
        try:
            update = builder.update({selection, Selection()})
            whole = update.message(selection, whole=True, whole_selection=True)
            assert update.message(selection, whole=True, whole_selection=True) is whole
            assert len(update.message(Selection(), whole=False, whole_selection=True)) > 0
            gone = weakref.ref(update), weakref.ref(update._common)
            del update
            assert [each() for each in gone] == [None, None]
        finally:
            gc.enable()
