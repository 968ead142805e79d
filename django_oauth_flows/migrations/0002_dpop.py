"""Keys of tokens travel with what is still to be revoked, and staff may switch them on. RFC 9449."""

from __future__ import annotations

from django.db import migrations, models

import django_oauth_flows.fields


class Migration(migrations.Migration):
    dependencies = [
        ("oauth_flows", "0001_initial"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="revocation",
            name="oauth_flows_revocation_done",
        ),
        migrations.AddField(
            model_name="revocation",
            name="dpop_key",
            field=django_oauth_flows.fields.EncryptedField(context="revocation.dpop_key"),
        ),
        migrations.AlterField(
            model_name="provider",
            name="dpop_bound_access_tokens",
            field=models.BooleanField(
                default=False,
                help_text="RFC 9449: new tokens are bound to a key; one that anybody could use is refused.",
                verbose_name="DPoP-bound tokens",
            ),
        ),
        migrations.AddConstraint(
            model_name="revocation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("finished_at", None), ("outcome", "pending")),
                    models.Q(
                        models.Q(("outcome", "pending"), _negated=True),
                        ("access_token__isnull", True),
                        ("dpop_key__isnull", True),
                        ("finished_at__isnull", False),
                        ("refresh_token__isnull", True),
                        ("token_secret__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="oauth_flows_revocation_done",
            ),
        ),
    ]
