from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("oauth_flows", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="provider",
            name="scope_descriptions",
            field=models.JSONField(
                blank=True,
                default=dict,
                help_text="Scope to text, or to texts by language.",
                verbose_name="scopes in plain words",
            ),
        ),
    ]
