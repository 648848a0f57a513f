"""Signals while the library works on the main thread.

Python runs a signal's handler before the next of its instructions, which is inside of a callback here, at a place from
which an exception cannot leave. So handlers wait for the callback to run them where it can keep what they raise: Ctrl-C
ends the work within a tile.
"""

import signal
import threading


class WaitingSignals:
    """with WaitingSignals() as waiting: ... waiting.run() ..."""

    def __enter__(self):
        self._handlers = {}
        self._waiting = []
        if threading.current_thread() is not threading.main_thread():
            return self  # signals are another thread's
        for number in signal.valid_signals():
            try:
                handler = signal.getsignal(number)
                if callable(handler):
                    # Noted first: whatever comes in between is kept for the same handler.
                    self._handlers[number] = handler
                    signal.signal(number, self._keep)
            except (OSError, ValueError):  # SIGKILL and the like
                self._handlers.pop(number, None)
        return self

    def _keep(self, number, frame):
        self._waiting.append((number, frame))

    def run(self):
        """Runs the handlers of signals that came, which may raise."""
        while self._waiting:
            number, frame = self._waiting.pop(0)
            self._handlers[number](number, frame)

    def __exit__(self, *_):
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self.run()
        return False
