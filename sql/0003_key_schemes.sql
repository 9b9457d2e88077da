-- A key belongs to one signature scheme and one algorithm from its birth (core/scheme.h). MD5 needs
-- a word of its own: whoever sets the algorithm alone does not get it.

SET LOCAL ROLE ngx_pay_owner;

ALTER TABLE pay.app_key ADD COLUMN scheme text NOT NULL DEFAULT 'header';
ALTER TABLE pay.app_key ADD COLUMN md5_allowed boolean NOT NULL DEFAULT false;

ALTER TABLE pay.app_key DROP CONSTRAINT app_key_alg_check;
ALTER TABLE pay.app_key ADD CONSTRAINT app_key_scheme_alg CHECK (
    scheme = 'header' AND alg IN ('rsa-sha256', 'hmac-sha256', 'ed25519')
    OR scheme = 'sorted' AND alg IN ('rsa-sha256', 'hmac-sha256', 'md5')
    OR scheme = 'rfc9421' AND alg IN ('rsa-sha256', 'hmac-sha256', 'ed25519', 'ecdsa-p256-sha256',
                                      'rsa-pss-sha512'));
ALTER TABLE pay.app_key ADD CONSTRAINT app_key_md5 CHECK (alg <> 'md5' OR md5_allowed);

CREATE FUNCTION pay.refuse_key_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'key %: serial, app, scheme and algorithm never change', OLD.serial
        USING ERRCODE = 'PAY04';
END $$;
CREATE TRIGGER key_for_ever BEFORE UPDATE ON pay.app_key
    FOR EACH ROW WHEN ((OLD.serial, OLD.app_id, OLD.scheme, OLD.alg)
                       IS DISTINCT FROM (NEW.serial, NEW.app_id, NEW.scheme, NEW.alg))
    EXECUTE FUNCTION pay.refuse_key_change();
