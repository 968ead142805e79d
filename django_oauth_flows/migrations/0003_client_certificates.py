"""A certificate that the client shows in TLS handshakes. RFC 8705."""

from __future__ import annotations

from django.db import migrations, models

import django_oauth_flows.fields


class Migration(migrations.Migration):
    dependencies = [
        ("oauth_flows", "0002_dpop"),
    ]

    operations = [
        migrations.AddField(
            model_name="provider",
            name="client_certificate",
            field=django_oauth_flows.fields.EncryptedField(
                context="provider.client_certificate", verbose_name="client certificate"
            ),
        ),
        migrations.AddField(
            model_name="provider",
            name="tls_client_certificate_bound_access_tokens",
            field=models.BooleanField(
                default=False,
                help_text="RFC 8705: the client certificate is shown to the API as well.",
                verbose_name="certificate-bound tokens",
            ),
        ),
        migrations.AlterField(
            model_name="provider",
            name="token_endpoint_auth_method",
            field=models.CharField(
                choices=[
                    ("client_secret_basic", "secret in the Authorization header (client_secret_basic)"),
                    ("client_secret_post", "secret in the request body (client_secret_post)"),
                    ("client_secret_jwt", "assertion signed with the secret (client_secret_jwt)"),
                    ("private_key_jwt", "assertion signed with a private key (private_key_jwt)"),
                    ("tls_client_auth", "client certificate of an authority (tls_client_auth)"),
                    ("self_signed_tls_client_auth", "client certificate of our own (self_signed_tls_client_auth)"),
                    ("none", "no secret: public client (none)"),
                ],
                default="client_secret_basic",
                max_length=40,
                verbose_name="client authentication",
            ),
        ),
    ]
