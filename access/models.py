"""The tables of API keys and of what was used of the limits of a day."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

UNREVOKED = Q(revoked_at=None)
UNEXPIRED = Q(expires_at=None) | Q(expires_at__gt=Now())


class ApiKey(models.Model):
    """A key that acts for its owner, within its scopes. Of its text only the digest is here, and a prefix to tell it
    by."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="verbatim_api_keys")
    name = models.CharField(max_length=100, blank=True, default="")
    prefix = models.CharField(max_length=16, unique=True)
    digest = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    text: str | None = None
    """The key itself: no column, and known only to the answer that shows it."""

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return self.prefix


class Spending(models.Model):
    """What was used on one day, by UTC: by one owner in all (`key_id` 0), or with one of the owner's API keys. What
    calls in progress may still use is held. No foreign key to the API key: what was spent outlives it.
    The database does not hold the owner's: a process of the version before must be able to delete a user."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, db_constraint=False, related_name="+")
    key_id = models.BigIntegerField(default=0)
    day = models.DateField()
    tokens = models.BigIntegerField(default=0)
    tokens_held = models.BigIntegerField(default=0)
    cost = models.DecimalField(max_digits=16, decimal_places=8, default=Decimal(0))
    cost_held = models.DecimalField(max_digits=16, decimal_places=8, default=Decimal(0))

    class Meta:
        verbose_name_plural = "spending"
        constraints = (models.UniqueConstraint(fields=["owner", "key_id", "day"], name="one_spending_per_day"),)

    def __str__(self) -> str:
        return f"{self.day} {self.key_id}"


class Hold(models.Model):
    """What one model call in progress may still use, on some of its payer's accounts: there is a row for as long as
    that is held. One whose process was lost with its turn `is_lost`: what it has used at least is counted, and is in
    `tokens` and `cost`, should the process come back and tell. The database holds no foreign key, as for `Spending`."""

    id = models.UUIDField(primary_key=True, default=uuid4)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, db_constraint=False, related_name="+")
    accounts = models.JSONField()
    """The `key_id` of each."""
    day = models.DateField()
    turn_id = models.UUIDField(db_index=True)
    attempt = models.IntegerField()
    tokens = models.BigIntegerField()
    cost = models.DecimalField(max_digits=16, decimal_places=8)
    prompt_tokens = models.BigIntegerField()
    prompt_cost = models.DecimalField(max_digits=16, decimal_places=8)
    is_lost = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.tokens} tokens of {self.turn_id}"
