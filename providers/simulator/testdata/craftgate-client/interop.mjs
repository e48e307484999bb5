// The official Craftgate client refunds, retrieves and searches against a simulator that was started with
// seed.json. Usage: node interop.mjs http://127.0.0.1:9090
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import Craftgate from '@craftgate/craftgate';

const simulator = process.argv[2];
const connect = (secretKey) =>
  new Craftgate.Client({ apiKey: 'test-api-key', secretKey, baseUrl: `${simulator}/craftgate`, language: 'en' });
const client = connect('test-secret-key');
const payment = client.payment();
const reporting = client.paymentReporting();

// refused is what the client throws when a call is refused.
async function refused(call) {
  try {
    await call;
  } catch (error) {
    assert.ok(error instanceof Craftgate.CraftgateError, `expected a refusal, got ${error}`);
    return error;
  }
  assert.fail('expected a refusal');
}

const checks = {
  async 'a whole payment on its day is cancelled, and found'() {
    const refund = await payment.refundPayment({ paymentId: 771, conversationId: 'ord-1', refundDestinationType: 'PROVIDER' });
    assert.equal(refund.status, 'SUCCESS');
    assert.equal(refund.refundType, 'CANCEL');
    assert.equal(refund.refundPrice, 100);
    assert.deepEqual(refund.paymentTransactionRefunds, []);
    assert.deepEqual(await payment.retrievePaymentRefund(refund.id), refund);
    const listed = await reporting.retrievePaymentRefunds(771);
    assert.equal(listed.items[0].id, refund.id);
    const found = await reporting.searchPaymentRefunds({ paymentId: 771, conversationId: 'ord-1', page: 0, size: 10 });
    assert.equal(found.totalSize, 1);
    assert.equal(found.items[0].id, refund.id);
  },

  async 'an item is refunded in part, and found'() {
    const refund = await payment.refundPaymentTransaction({ paymentTransactionId: 9001, conversationId: 'ord 2', refundPrice: 25.5 });
    assert.equal(refund.status, 'SUCCESS');
    assert.equal(refund.refundPrice, 25.5);
    assert.equal(refund.paymentId, 772);
    assert.deepEqual(await payment.retrievePaymentTransactionRefund(refund.id), refund);
    const listed = await reporting.retrievePaymentTransactionRefunds(772, 9001);
    assert.equal(listed.items[0].id, refund.id);
    const since = new Date(Date.now() - 3600_000);
    const search = { paymentId: 772, paymentTransactionId: 9001, conversationId: 'ord 2', status: 'SUCCESS', minCreatedDate: since };
    assert.equal((await reporting.searchPaymentTransactionRefunds(search)).items[0].id, refund.id);
    assert.equal((await reporting.searchPaymentTransactionRefunds({ ...search, conversationId: 'ord 3' })).totalSize, 0);
    const report = await reporting.retrievePayment(772);
    assert.equal(report.refundStatus, 'PARTIAL_REFUNDED');
    assert.equal(Number(report.refundablePrice), 74.5);
    const items = await reporting.retrievePaymentTransactions(772);
    assert.deepEqual(items.items.map((item) => [item.id, item.refundablePrice]), [[9001, 34.5], [9002, 40]]);
  },

  async 'the rest of a payment is refunded item by item'() {
    const refund = await payment.refundPayment({ paymentId: 772, conversationId: 'İade-Ş-1' });
    assert.equal(refund.refundType, 'REFUND');
    assert.equal(refund.id, undefined);
    assert.deepEqual(refund.paymentTransactionRefunds.map((part) => [part.paymentTransactionId, part.refundPrice, part.status]),
      [[9001, 34.5, 'SUCCESS'], [9002, 40, 'SUCCESS']]);
    const found = await reporting.searchPaymentTransactionRefunds({ conversationId: 'İade-Ş-1' });
    assert.equal(found.totalSize, 2);
  },

  async 'refusals keep their group'() {
    const again = await refused(payment.refundPayment({ paymentId: 771 }));
    assert.equal(again.getErrorData().errorGroup, 'MAY_HAVE_ALREADY_REFUNDED');
    const late = await refused(payment.refundPayment({ paymentId: 773, conversationId: 'ord-4' }));
    assert.equal(late.getErrorData().errorGroup, 'REQUIRES_DAY_END');
    const failed = await reporting.searchPaymentTransactionRefunds({ conversationId: 'ord-4' });
    assert.equal(failed.items[0].status, 'FAILURE');
    assert.equal(failed.items[0].error.errorGroup, 'REQUIRES_DAY_END');
    const stranger = await refused(connect('another-secret').payment().refundPayment({ paymentId: 773 }));
    assert.equal(stranger.getErrorDescription(), 'Signature is not equal!');
  },

  async 'a webhook is believed, and tells of a refund that waited'() {
    const receiver = createServer();
    const received = new Promise((resolve) => receiver.on('request', (request, response) => {
      let body = '';
      request.on('data', (piece) => (body += piece));
      request.on('end', () => {
        response.end();
        resolve([request.headers['x-cg-signature-v1'], JSON.parse(body)]);
      });
    }));
    await new Promise((ready) => receiver.listen(0, '127.0.0.1', ready));
    const rule = { type: 'craftgate', target: `http://127.0.0.1:${receiver.address().port}/hook`, delay: '50ms' };
    const answer = await fetch(`${simulator}/_control/notices`, { method: 'PUT', body: JSON.stringify([rule]) });
    assert.equal(answer.status, 204);
    const refund = await payment.refundPaymentTransaction({ paymentTransactionId: 774, conversationId: 'ord-5', refundPrice: 50 });
    assert.equal(refund.status, 'WAITING');
    const [signature, webhook] = await received;
    receiver.close();
    receiver.closeAllConnections();
    assert.equal(await client.hook().isWebhookVerified('test-hook-key', signature, webhook), true);
    assert.equal(webhook.eventType, 'REFUND_TX');
    assert.equal(webhook.payloadId, String(refund.id));
    assert.equal((await payment.retrievePaymentTransactionRefund(refund.id)).status, 'SUCCESS');
  },

  async 'the ledger has what moved, and nothing else'() {
    const ledger = await (await fetch(`${simulator}/_control/ledger`)).text();
    const lines = ledger.trim().split('\n').map((line) => JSON.parse(line));
    assert.deepEqual(lines.map((line) => [line.reference, line.kind, line.amount.amountMicros]), [
      ['771', 'CANCEL', '100000000'],
      ['772', 'REFUND', '25500000'],
      ['772', 'REFUND', '74500000'],
      ['774', 'REFUND', '50000000'],
    ]);
  },
};

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log(`ok: ${name}`);
}
