"""The services of greeter. Run them with `macaque dev`."""

from dataclasses import dataclass

import macaque

app = macaque.Server()

GREETINGS = {"de": "Hallo", "en": "Hello", "fr": "Bonjour"}


@dataclass
class Person:
    name: str
    language: str = "en"


@app.service("greeter/greet", share_id="greeter")
def greet(person: Person) -> str:
    """Return a greeting in the language of a person."""
    if person.language not in GREETINGS:
        macaque.abort(404, f"there is no greeting in the language {person.language}")
    return f"{GREETINGS[person.language]}, {person.name}!"
