// A real identity provider for one client and any person: node oidc_provider.mjs FOLDER PORT REDIRECT_URI SECRET
// The person `NAME` has the address NAME@example.org, and is in the groups that the name has after a plus sign.
const [folder, port, redirectUri, secret] = process.argv.slice(2);
const { default: Provider } = await import(`${folder}/node_modules/oidc-provider/lib/index.js`);

const client = { client_id: 'everpost', redirect_uris: [redirectUri], grant_types: ['authorization_code'] };
if (secret) client.client_secret = secret;
else client.token_endpoint_auth_method = 'none';

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [client],
  claims: { openid: ['sub'], email: ['email', 'email_verified', 'groups'], profile: ['name'] },
  cookies: { keys: ['a key of a test'] },
  pkce: { required: () => true },
  findAccount: (_, id) => {
    const [name, ...groups] = id.split('+');
    const isVerified = name !== 'unverified';
    return {
      accountId: id,
      claims: () => ({ sub: id, name, email: `${name}@example.org`, email_verified: isVerified, groups }),
    };
  },
});
provider.listen(Number(port), '127.0.0.1', () => console.log('it listens'));
