"""The errors a user may meet: one readable sentence that says what was expected, what came and what to do."""


class PersonaLiveError(Exception):
    """Base of every error that is meant for the user; `exit_code` is what the command line ends with."""

    exit_code = 1


class InputError(PersonaLiveError):
    """A file or a value given by the user cannot be used."""

    exit_code = 2


class FaceError(PersonaLiveError):
    """No face, or not the face asked for, where one is needed."""

    exit_code = 3


class WeightsError(PersonaLiveError):
    """Weights are missing, damaged, or do not fit the networks."""

    exit_code = 4


class OutputError(PersonaLiveError):
    """The result cannot be written."""

    exit_code = 5


class NumericalError(PersonaLiveError):
    """The networks gave NaN or a black picture."""

    exit_code = 6


def remedy_first(message: str) -> str:
    """An error's "what came: what to do" the other way round, for places that show its beginning only.

    Further lines stay behind. Of the problem's beginning only an article loses its capital: it may be a file's name.
    """
    head, newline, rest = message.partition("\n")
    problem, colon, remedy = head.rpartition(": ")
    if colon and remedy:
        if problem.startswith(("The ", "A ", "An ", "No ")):
            problem = problem[0].lower() + problem[1:]
        head = f"{remedy[0].upper()}{remedy[1:].rstrip('.')}: {problem}"
    return f"{head.rstrip('.:')}.{newline}{rest}"
