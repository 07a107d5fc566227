"""The tables of API keys, of what was used of the limits of a day, and of model profiles."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

UNREVOKED = Q(revoked_at=None)
UNEXPIRED = Q(expires_at=None) | Q(expires_at__gt=Now())


class ApiKey(models.Model):
    """A key that acts for its owner, within its scopes and limits. Of its text only the digest is here, and a prefix to
    tell it by. A limit that is null is as the settings have it for every key."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="verbatim_api_keys")
    name = models.CharField(max_length=100, blank=True, default="")
    prefix = models.CharField(max_length=16, unique=True)
    digest = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    max_turns = models.PositiveIntegerField("answers at a time", null=True, blank=True)
    turns_per_minute = models.PositiveIntegerField("requests per minute", null=True, blank=True)
    tokens_per_day = models.PositiveBigIntegerField(null=True, blank=True)
    cost_per_day = models.DecimalField(
        "US dollars per day",
        max_digits=12,
        decimal_places=2,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
    )

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


class Audience(models.TextChoices):
    """Who may use a profile."""

    EVERYONE = "everyone", "everyone"
    STAFF = "staff", "staff"
    GROUPS = "groups", "members of groups"


class Adapter(models.TextChoices):
    """Who speaks to a provider; what `llm.profiles.Profile` says of it."""

    AUTO = "auto", "auto"
    DIRECT = "direct", "direct"
    LITELLM = "litellm", "litellm"


def positive() -> models.PositiveIntegerField[int | None, int | None]:
    """A number from one on, or nothing."""
    return models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])


def price() -> models.DecimalField[Decimal | None, Decimal | None]:
    """US dollars for a million tokens, or nothing."""
    return models.DecimalField(
        max_digits=12, decimal_places=6, null=True, blank=True, validators=[MinValueValidator(Decimal(0))]
    )


class Profile(models.Model):
    """A model that the site offers beside those of its settings. What is empty is as `llm.profiles.Profile` has it.
    The database does not hold the groups: a process of the version before must be able to delete one."""

    name = models.CharField(max_length=100, unique=True)
    label = models.CharField(max_length=100, blank=True, default="")
    adapter = models.CharField(max_length=20, choices=Adapter.choices, default=Adapter.AUTO)
    model = models.CharField(max_length=200, blank=True, default="")
    base_url = models.CharField("base URL", max_length=500, blank=True, default="")
    api_key_name = models.CharField("variable of the key", max_length=100, blank=True, default="")
    system_prompt = models.TextField(blank=True, default="")
    tools = models.JSONField(null=True, blank=True, default=None)
    temperature = models.FloatField(null=True, blank=True)
    top_p = models.FloatField(null=True, blank=True)
    seed = models.BigIntegerField(null=True, blank=True)
    stop = models.JSONField(null=True, blank=True, default=None)
    max_output_tokens = positive()
    context_window = positive()
    input_price, output_price, cached_price = price(), price(), price()
    audience = models.CharField("who may use it", max_length=20, choices=Audience.choices, default=Audience.EVERYONE)
    groups = models.ManyToManyField(Group, blank=True, related_name="+", db_constraint=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "model profile"

    def __str__(self) -> str:
        return self.name
