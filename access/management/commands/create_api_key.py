"""`manage.py create_api_key USER`: makes an API key and prints it, once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from access.keys import create_key
from access.principals import Scope


class Command(BaseCommand):
    help = "Make an API key for a user and print it. It cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="the user's name, as for signing in")
        parser.add_argument("--create-user", action="store_true", help="make the user, without a password, if missing")
        parser.add_argument("--name", default="", help="what the key is for")
        parser.add_argument(
            "--scope", action="append", choices=[*Scope], help="repeat for several; default: read and chat"
        )
        parser.add_argument("--days", type=int, help="days until the key expires; default: never")

    def handle(self, *args: Any, **options: Any) -> None:
        key = create_key(
            _user(options["user"], create=options["create_user"]),
            name=options["name"],
            scopes=[Scope(scope) for scope in options["scope"] or (Scope.READ, Scope.CHAT)],
            expires_at=timezone.now() + timedelta(days=options["days"]) if options["days"] else None,
        )
        self.stdout.write(key.text)


def _user(name: str, *, create: bool) -> Any:
    model = get_user_model()
    user = model._default_manager.filter(**{model.USERNAME_FIELD: name}).first()
    if user is None:
        if not create:
            raise CommandError(f"There is no user {name!r}. --create-user makes one.")
        user = model(**{model.USERNAME_FIELD: name})
        user.set_unusable_password()
        user.save()
    if not user.is_active:
        raise CommandError(f"The user {name!r} is inactive.")
    return user
