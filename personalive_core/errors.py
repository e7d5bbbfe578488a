"""The errors shown to the user: one readable sentence says what was expected, what was found and what to do."""


class PersonaLiveError(Exception):
    """Base class of every error meant for the user; `exit_code` is the exit code of the command line."""

    exit_code = 1


class InputError(PersonaLiveError):
    """A file or a value given by the user cannot be used."""

    exit_code = 2


class FaceError(PersonaLiveError):
    """No face, or not the requested face, was found where one is needed."""

    exit_code = 3


class WeightsError(PersonaLiveError):
    """Weights are missing, damaged, or do not fit the networks."""

    exit_code = 4


class OutputError(PersonaLiveError):
    """The result cannot be written."""

    exit_code = 5


class NumericalError(PersonaLiveError):
    """The networks produced NaN or a black picture."""

    exit_code = 6


# torch's words on CUDA and MPS, Linux, Windows
NO_MEMORY = ("out of memory", "allocate memory", "not enough memory")


def lacks_memory(error: BaseException) -> bool:
    """Whether the machine or its device had too little memory."""
    first_line = next(iter(str(error).splitlines()), "")
    return isinstance(error, MemoryError) or any(words in first_line for words in NO_MEMORY)


def remedy_first(message: str) -> str:
    """Turns an error message "problem: remedy" into "remedy: problem", for places that show only its beginning.

    Further lines stay below. The problem's first word is put in lower case only if it is an article or "No": any other
    word may be a file name.
    """
    head, newline, rest = message.partition("\n")
    problem, colon, remedy = head.rpartition(": ")
    if colon and remedy:
        if problem.startswith(("The ", "A ", "An ", "No ")):
            problem = problem[0].lower() + problem[1:]
        head = f"{remedy[0].upper()}{remedy[1:].rstrip('.')}: {problem}"
    return f"{head.rstrip('.:')}.{newline}{rest}"
