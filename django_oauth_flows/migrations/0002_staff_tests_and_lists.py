"""Reports of staff's tests, and the indexes by which staff find connections among a million."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar[list[Any]] = [
        ("oauth_flows", "0001_initial"),
    ]

    operations: ClassVar[list[Any]] = [
        migrations.RemoveIndex(
            model_name="token",
            name="oauth_flows_token_due",
        ),
        migrations.AddField(
            model_name="authorizationrequest",
            name="report",
            field=models.JSONField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name="authorizationrequest",
            name="outcome",
            field=models.CharField(
                blank=True,
                choices=[
                    ("connected", "Connected"),
                    ("parked", "Parked"),
                    ("dropped", "Dropped"),
                    ("failed", "Failed"),
                    ("tested", "Tested"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddIndex(
            model_name="connection",
            index=models.Index(fields=["created_at", "id"], name="oauth_flows_conn_newest"),
        ),
        migrations.AddIndex(
            model_name="connection",
            index=models.Index(fields=["provider", "status", "paused"], name="oauth_flows_conn_state"),
        ),
        migrations.AddIndex(
            model_name="connection",
            index=models.Index(fields=["label"], name="oauth_flows_conn_label", opclasses=("varchar_pattern_ops",)),
        ),
        migrations.AddIndex(
            model_name="token",
            index=models.Index(fields=["provider", "next_refresh_at", "expires_at"], name="oauth_flows_token_due"),
        ),
        migrations.AddIndex(
            model_name="token",
            index=models.Index(fields=["refresh_token_expires_at"], name="oauth_flows_token_end"),
        ),
    ]
