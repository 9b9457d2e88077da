"""Who takes part in a private stack: the merchant with two apps, our accounts at the channels, and the
same accounts in the books of the virtual bank."""
RSA_SERIAL = "DEMORSA1"
HMAC_SERIAL = "DEMOHMAC1"
def configure_paybank(conf, keys): pass
def register(stack): pass
