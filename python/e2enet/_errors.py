"""The one type of error of the package."""

import enum


class ErrorCode(enum.IntEnum):
    """What kind of problem an Error is: the e2enet_status of e2enet_c.h."""

    INVALID_ARGUMENT = 1  # a value given by the caller makes no sense
    CANNOT_READ = 2       # a file is missing, unreadable or cut short
    CANNOT_WRITE = 3      # a file or folder cannot be written
    INVALID_MODEL = 4     # a model file breaks the format or contradicts itself
    INVALID_IMAGE = 5     # an image breaks its format or cannot be segmented
    OUT_OF_MEMORY = 6     # the system gave no memory
    MEMORY_LIMIT = 7      # the work cannot be done within the limit that the caller set
    CANCELLED = 8         # the progress callback asked to stop
    INTERNAL = 9          # a defect of the library


class Error(Exception):
    """Everything that the library refuses or fails at: one line of text, and `code`, an ErrorCode."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = ErrorCode(code)

    def __reduce__(self):  # through pickle, as pools of processes need it
        return Error, (self.code, str(self))


def refuse(message):
    """An argument that makes no sense."""
    return Error(ErrorCode.INVALID_ARGUMENT, message)
