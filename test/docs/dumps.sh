# before copies-accept-the-same-tokens
# the original, without the session of the page; and what was mended restores
createdb app
pg_dump -Fc | pg_restore --exit-on-error -d app
