"""The database as the settings set it up."""

import pytest
from django.db import connection


@pytest.mark.django_db
def test_what_is_written_as_unicode_is_read_back() -> None:
    written = "naïve \U0001f9ff שלום e\u0301"

    with connection.cursor() as cursor:
        cursor.execute("SELECT %s", [written])
        (read,) = cursor.fetchone()

    assert read == written
