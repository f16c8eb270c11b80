"""What a form of a page says."""

Form = dict[str, list[str]]  # name of a field -> what it was given


def one(form: Form, name: str) -> str:
    """A field without spaces around it; "" where it is absent."""
    return form.get(name, [""])[-1].strip()
