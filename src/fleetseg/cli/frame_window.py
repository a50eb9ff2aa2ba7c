"""``--show``: the labelled frames in a window."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fleetseg.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class FrameWindow:
    """A window of Tk, which comes with Python; closing it, Escape and q call `close`."""

    def __init__(self, title: str, close: Callable[[], None]) -> None:
        """`UsageError` where there is no screen or Python was built without Tk."""
        try:
            import tkinter

            self._tk = tkinter
            self._window = tkinter.Tk()
        except ImportError:
            raise UsageError("--show: this Python has no Tk; install it (python3-tk) or leave --show out") from None
        except tkinter.TclError as error:
            raise UsageError(f"--show: there is no screen to show on ({error})") from None
        self._open = True
        self._window.title(title)
        self._label = tkinter.Label(self._window)
        self._label.pack()
        self._close = close
        self._window.protocol("WM_DELETE_WINDOW", self._end)
        for key in ("<Escape>", "q"):
            self._window.bind(key, lambda _event: self._end())

    def show(self, picture: npt.NDArray[np.uint8]) -> None:
        """Show (H, W, 3) RGB."""
        if not self._open:
            return
        height, width = picture.shape[:2]
        content = b"P6 %d %d 255 " % (width, height) + picture.tobytes()
        self._photo = self._tk.PhotoImage(data=content, format="PPM")
        self._label.configure(image=self._photo)
        self._window.update()

    def _end(self) -> None:
        self._open = False
        self._window.destroy()
        self._close()
