"""Addresses of the service: pages for members, both authorization servers, one API."""

from __future__ import annotations

from django.contrib.auth import views as auth
from django.urls import include, path
from oauth2_provider import views as oauth2

from example_project.service import api, pages
from example_project.service.consent import AuthorizationView
from example_project.service.devices import DeviceAuthorizationView, DeviceUserCodeView
from example_project.service.metadata import OpenIDConfigurationView, ServerMetadataView
from example_project.service.oauth1 import views as oauth1

oauth2_urls = [
    path("oauth2/authorize/", AuthorizationView.as_view(), name="authorize"),
    path("oauth2/token/", oauth2.TokenView.as_view(), name="token"),
    path("oauth2/revoke/", oauth2.RevokeTokenView.as_view(), name="revoke-token"),
    path("oauth2/device-authorization/", DeviceAuthorizationView.as_view(), name="device-authorization"),
    path("device/", DeviceUserCodeView.as_view(), name="device"),
    path("device/<slug:client_id>/<slug:user_code>/", oauth2.DeviceConfirmView.as_view(), name="device-confirm"),
    path(
        "device/<slug:client_id>/<slug:user_code>/answered/",
        oauth2.DeviceGrantStatusView.as_view(),
        name="device-grant-status",
    ),
    path(".well-known/oauth-authorization-server", ServerMetadataView.as_view(), name="oauth-server-metadata"),
    path(".well-known/openid-configuration", OpenIDConfigurationView.as_view(), name="oidc-connect-discovery-info"),
    path("oauth2/jwks/", oauth2.JwksInfoView.as_view(), name="jwks-info"),
    path("oauth2/userinfo/", oauth2.UserInfoView.as_view(), name="user-info"),
]
oauth1_urls = [
    path("temporary-credentials/", oauth1.temporary_credentials, name="temporary-credentials"),
    path("authorize/", oauth1.authorize, name="authorize"),
    path("token-credentials/", oauth1.token_credentials, name="token-credentials"),
    path("revoke/", oauth1.revoke, name="revoke"),
]
api_urls = [
    path("me/", api.me, name="me"),
    path("notes/", api.notes, name="notes"),
    path("notes/<int:pk>/", api.note, name="note"),
    path("photos/", api.photos, name="photos"),
    path("photos/<int:pk>/", api.photo, name="photo"),
    path("statistics/", api.statistics, name="statistics"),
]
urlpatterns = [
    path("", pages.home, name="home"),
    path("applications/", pages.applications, name="applications"),
    path("tokens/", pages.tokens, name="tokens"),
    path("login/", auth.LoginView.as_view(), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("", include((oauth2_urls, "oauth2_provider"))),
    path("oauth1/", include((oauth1_urls, "oauth1"))),
    path("api/", include((api_urls, "api"))),
]
